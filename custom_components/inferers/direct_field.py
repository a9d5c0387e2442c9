"""One forward pass of a registration network over the pair as it is, 2-D or 3-D."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import nn

from custom_components.fields import compose_affine, nonrigid_part
from custom_components.fields import warp as warp_image
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages


class DirectField:
    """The field that a network finds after the affine of the chain, at the size of the working images.

    Args:
        network: (1, 2, *spatial) moving and fixed -> (1, D, *spatial) ddf, voxels. With ``given`` (1, 2 + D, *spatial),
            behind the images the field that the chain found so far after its affine.
        amp: compute in bfloat16 where that is safe.
        minimum_jacobian: the field is smoothed locally until its Jacobian determinant is above this; None leaves it.
        name: of the stage in the report.
        given: see ``network``.
    """

    def __init__(
        self, network: nn.Module, amp: bool = False, minimum_jacobian: float | None = None, name: str = "network",
        given: bool = False,
    ) -> None:  # fmt: skip
        self.network = network
        self.amp = amp
        self.minimum_jacobian = minimum_jacobian
        self.name = name
        self.given = given

    @torch.no_grad()
    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; what the chain found before, beyond its affine, is replaced by what the network gives."""
        start = perf_counter()
        self.network.to(images.fixed.device).eval()
        nothing = images.fixed.new_zeros(1, len(images.shape), *images.shape)
        warped = warp_image(images.moving, compose_affine(estimate.affine, nothing), padding_mode="border")
        pair = torch.cat([warped, images.fixed], dim=1)
        if self.given:
            pair = torch.cat([pair, nonrigid_part(estimate.affine, estimate.ddf).to(pair)], dim=1)
        with torch.autocast(pair.device.type, torch.bfloat16, enabled=self.amp):
            residual = self.network(pair)
        return with_residual(estimate, residual.float(), images, self.minimum_jacobian, self.name, start, {})
