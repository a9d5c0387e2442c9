"""What is measured of every registration, whatever the method: likeness, support, expected error, missing tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from custom_components.fields import warp
from custom_components.inferers.displaced import LEAST_SUPPORT, compare
from custom_components.inferers.flow_refinement import local_correlation, local_similarity, to_bytes
from custom_components.inferers.general_error import general_error, without_counterpart
from custom_components.inferers.result import PairImages, Registration, Stage

LEAST_PIECE = 0.1  # share of the tissue; smaller ones are not judged by themselves


def covered_pieces(mask: Tensor, other: Tensor, ddf: Tensor) -> tuple[int, list[npt.NDArray[np.bool_]]]:
    """How many pieces a tissue has, and the covered part of each that other tissue lies on, by half of it or more.

    Args:
        mask: (1, 1, H, W) tissue of the grid that ``ddf`` lives on.
        other: (1, 1, H, W) tissue of the other image.
        ddf: (1, 2, H, W) from the one to the other, voxels.
    """
    tissue = mask[0, 0].cpu().numpy() > 0.5
    labels, count = ndimage.label(tissue)
    pieces = [labels == number for number in range(1, count + 1)]
    pieces = [piece for piece in pieces if piece.sum() >= LEAST_PIECE * tissue.sum()]
    covered = warp(other, ddf)[0, 0].cpu().numpy() > 0.5
    return len(pieces), [piece & covered for piece in pieces if (piece & covered).sum() >= 0.5 * piece.sum()]


def piece_figures(images: PairImages, result: Registration) -> dict[str, Any]:
    """How alike each piece of the fixed tissue is to what lies on it, of sections in several pieces.

    A piece that was swapped or turned by itself lies on other tissue or on none, which the mean over all pieces hides.

    Args:
        images: of two dimensions; of others there are no figures.
        result: of their registration.

    Returns:
        Empty where the tissue is of one piece; else ``pieces``, ``least_piece_similarity`` over those that tissue lies
        on, and ``lone_pieces`` and ``lone_moving_pieces``, on which none does.
    """
    if images.fixed.ndim != 4:
        return {}
    count, found = covered_pieces(images.fixed_mask, images.moving_mask, result.ddf)
    if count < 2:
        return {}
    moving_count, moving_found = covered_pieces(images.moving_mask, images.fixed_mask, result.inverse)
    warped = to_bytes(warp(images.moving, result.ddf))
    score = local_correlation(to_bytes(images.fixed), warped, images.diagonal / 100)
    rim = max(1, round(images.diagonal / 40))  # outlines agree by themselves
    inner = [ndimage.binary_erosion(piece, iterations=rim) for piece in found]
    values = [float(score[core if core.any() else piece].mean()) for core, piece in zip(inner, found, strict=True)]
    alike = {"least_piece_similarity": min(values)} if values else {}
    lone = {"lone_pieces": count - len(found), "lone_moving_pieces": moving_count - len(moving_found)}
    return {"pieces": count, **lone, **alike}


def _share(part: Tensor, mask: Tensor) -> float:
    """Share of a mask that lies in a part of the grid; 0 of an empty one."""
    tissue = mask > 0.5
    return float((part & tissue).sum() / tissue.sum()) if bool(tissue.any()) else 0.0


def scored(inferer: Callable[[PairImages], Registration]) -> Callable[[PairImages], Registration]:
    """The inferer, its result with what it does not measure itself.

    A network gives a field for any two images; without this, noise on tissue would be as good a result as any. Measured
    are local similarity, also that of pieces, and ``support``: whether the images look more alike as aligned than
    displaced (see ``displaced.compare``). A method that states no error of its own has the general one; where fixed
    tissue has no counterpart, and of images that nothing says show the same, the error is unknown, NaN.
    """

    def register(images: PairImages) -> Registration:
        result = inferer(images)
        start = perf_counter()
        figures = piece_figures(images, result)
        if not any("similarity" in stage.details for stage in result.stages):
            figures["similarity"] = local_similarity(images, result.ddf)
        found = compare(images, result.ddf, maps=result.error is None)
        figures["support"] = found.support
        error = general_error(found, images).to(result.ddf) if result.error is None else result.error
        lone = without_counterpart(images, result.ddf)
        if result.lone is not None:
            lone = lone | (result.lone > 0.5)
        figures["unmatched_share"] = _share(lone, images.fixed_mask)
        if found.support < LEAST_SUPPORT:  # a small error would be one of what is not there
            lone = torch.ones_like(lone)
        done = Stage("similarity", perf_counter() - start, figures)
        return replace(result, error=error.masked_fill(lone, torch.nan), stages=(*result.stages, done))

    return register
