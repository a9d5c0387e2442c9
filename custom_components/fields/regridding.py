"""A field moved onto a grid that ITK can hold and blocks can be read from: parallel to the image that it belongs to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from custom_components.fields.affine import nonrigid_part
from custom_components.fields.geometry import apply_matrix
from custom_components.fields.grid import Grid
from custom_components.fields.invert import best_affine
from custom_components.fields.sample_at import sample_at


def upright_grid(working: Grid, image: Grid) -> Grid:
    """The grid that ``upright`` gives a field of ``working``: that itself where it is parallel to ``image``."""
    if working.parallel_to(image):
        return working
    pixels = float(np.prod(working.spacing / image.spacing)) ** (1 / len(image.shape))
    return image.shrunk(min(1.0, 1 / pixels))


def upright(ddf: Tensor, fixed: Grid, moving: Grid, image: Grid) -> tuple[Tensor, Grid]:
    """The field on a grid parallel to ``image``; the field itself where its grid is that already.

    A working grid that was flipped, turned or sheared by a transform is not: ITK's images can't be sheared, and slides
    are carried over by rows and columns. Beyond its border the field goes on with its best affine.

    Args:
        ddf: (1, D, *spatial), voxels, fixed -> moving working grid.
        fixed: working grid of the fixed image.
        moving: working grid of the moving image.
        image: the fixed image as it was read.

    Returns:
        The field, voxels of the returned grid -> voxels of ``moving``, as displacements between the two's indices.
    """
    grid = upright_grid(fixed, image)
    if grid is fixed:
        return ddf, fixed
    affine = best_affine(ddf)
    residual = nonrigid_part(affine, ddf)
    square = np.eye(len(grid.shape) + 1)
    square[:-1] = affine.cpu().numpy()
    index = np.stack([axis.ravel() for axis in np.indices(grid.shape)], axis=1).astype(np.float64)
    places = apply_matrix(grid.to(fixed), index)
    moved = apply_matrix(square, places + sample_at(residual, torch.from_numpy(places)).cpu().double().numpy())
    return torch.from_numpy((moved - index).T.reshape(1, -1, *grid.shape)).to(ddf), grid
