"""Diffeomorphic demons of ITK, a classical baseline on grey values."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import compose_affine
from custom_components.fields import warp as warp_image
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages


class DiffeomorphicDemons:
    """ITK's diffeomorphic demons after the affine of the chain, from coarse to fine, 2-D or 3-D.

    It compares grey values as they are: histograms are not matched.

    Source: Vercauteren et al., "Diffeomorphic demons: efficient non-parametric image registration", NeuroImage 2009.

    Args:
        iterations: of the resolutions, coarsest first, each twice as fine as the one before.
        field_sigma: standard deviation of the Gaussian that smooths the field after each iteration, voxels of the
            resolution; 0 leaves it.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.

    Raises:
        InputError: no iterations, or a number below zero.
    """

    def __init__(
        self,
        iterations: Sequence[int] = (100, 50, 25),
        field_sigma: float = 1.5,
        minimum_jacobian: float | None = None,
        name: str = "demons",
    ) -> None:
        self.iterations = [int(count) for count in iterations]
        if not self.iterations or min(self.iterations) < 0:
            raise InputError(f"iterations names a number for each resolution, such as [100, 50, 25], got {iterations}")
        if field_sigma < 0:
            raise InputError(f"field_sigma is a standard deviation in voxels, 0 or more, got {field_sigma}")
        self.field_sigma = field_sigma
        self.minimum_jacobian = minimum_jacobian
        self.name = name

    @torch.no_grad()
    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; a field that the chain found before, beyond its affine, is replaced."""
        start = perf_counter()
        nothing = images.fixed.new_zeros(1, len(images.shape), *images.shape)
        moving = warp_image(images.moving, compose_affine(estimate.affine, nothing), padding_mode="border")
        residual = self._residual(moving, images.fixed).to(images.fixed)
        return with_residual(
            estimate, residual, images, self.minimum_jacobian, self.name, start, {"resolutions": len(self.iterations)}
        )

    def _residual(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """(1, D, *spatial) float32, voxels, from two images (1, 1, *spatial)."""
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetSmoothDisplacementField(self.field_sigma > 0)
        if self.field_sigma > 0:
            demons.SetStandardDeviations(self.field_sigma)
        whole = [_itk_image(image) for image in (fixed, moving)]
        field: Any = None
        for level, count in enumerate(self.iterations):
            images = [_shrunk(image, 2 ** (len(self.iterations) - 1 - level)) for image in whole]
            demons.SetNumberOfIterations(count)
            if field is not None:  # the border's vectors go on beyond the coarser grid
                kind = field.GetPixelID()
                field = sitk.Resample(field, images[0], sitk.Transform(), sitk.sitkLinear, 0.0, kind, True)
            field = demons.Execute(*images) if field is None else demons.Execute(*images, field)
        # the vectors' components come x first, the channels of a ddf row (or slice) first
        vectors = np.moveaxis(sitk.GetArrayFromImage(field)[..., ::-1], -1, 0)
        return torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))[None]


def _itk_image(image: Tensor) -> Any:
    """(1, 1, *spatial) in [0, 1] -> ITK's image of spacing 1, whose millimetres are voxels."""
    # to 0..255: grey values that differ by less than 0.001 count as equal for ITK
    return sitk.GetImageFromArray(np.ascontiguousarray(255 * image[0, 0].cpu().numpy(), dtype=np.float32))


def _shrunk(image: Any, factor: int) -> Any:
    """A level of ITK's ``MultiResolutionPyramidImageFilter``: blurred by half the factor, then every so many voxels."""
    if factor == 1:
        return image
    blurred = sitk.DiscreteGaussian(image, [(0.5 * factor) ** 2] * image.GetDimension())
    return sitk.Shrink(blurred, [min(factor, side) for side in image.GetSize()])
