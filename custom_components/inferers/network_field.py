"""A network that sees the whole pair at once, at one size after another."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor, nn

from custom_components.fields import (
    compose,
    compose_affine,
    nonrigid_part,
    resize,
    smooth,
)
from custom_components.fields import warp as warp_image
from custom_components.inferers.patch_pyramid import FLAT, level_images
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages


class NetworkField:
    """One forward pass of a network over the pair at each of several sizes, composed.

    The field is estimated after the affine part of the chain, starting from what the chain found so far.

    Args:
        network: (1, 2, h, w) moving and fixed -> (1, 2, h, w) ddf, voxels.
        sizes: longest side of the pair in each pass, voxels. Smaller pairs are enlarged, as the network's finest cost
            volume then sees details of half the size.
        field_sigma: standard deviation of a Gaussian over each pass's field, voxels.
        amp: compute in bfloat16 where that is safe.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.
    """

    def __init__(
        self,
        network: nn.Module,
        sizes: Sequence[int] = (512, 1024),
        field_sigma: float = 0.0,
        amp: bool = False,
        minimum_jacobian: float | None = 0.1,
        name: str = "network",
    ) -> None:
        self.network = network
        self.sizes = list(sizes)
        self.field_sigma = field_sigma
        self.amp = amp
        self.minimum_jacobian = minimum_jacobian
        self.name = name

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``."""
        start = perf_counter()
        residual = nonrigid_part(estimate.affine, estimate.ddf)
        self.network.to(images.fixed.device).eval()
        for size in self.sizes:
            level = level_images(images, estimate.affine, size / max(images.shape))
            residual = resize(residual, level.shape)
            warped = warp_image(level.moving, compose_affine(level.matrix, residual))
            residual = compose(residual, self._step(warped, level.fixed))
        residual = resize(residual, images.shape)
        details = {"passes": len(self.sizes)}
        return with_residual(estimate, residual, images, self.minimum_jacobian, self.name, start, details)

    def _step(self, warped: Tensor, fixed: Tensor) -> Tensor:
        if min(float(image.amax() - image.amin()) for image in (warped, fixed)) <= FLAT:  # nothing to align
            return fixed.new_zeros(1, 2, *fixed.shape[2:])
        pair = torch.cat([warped, fixed], dim=1)
        with torch.no_grad(), torch.autocast(pair.device.type, torch.bfloat16, enabled=self.amp):
            step: Tensor = self.network(pair)
        return smooth(step.float(), self.field_sigma)
