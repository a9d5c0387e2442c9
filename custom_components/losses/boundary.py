"""Displacements that leave the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from custom_components.fields.compose import check_ddf
from custom_components.fields.sampling import identity_grid


class BoundaryLoss(nn.Module):
    """Mean distance by which ``x + ddf(x)`` lies beyond the outermost voxel centres, as a share of the diagonal.

    0 where every voxel is taken from inside the moving image. The public code of Ge et al., SFG, has a term for the
    same purpose at weight 0; this form is ours.
    """

    def forward(self, ddf: Tensor) -> Tensor:
        """Scalar.

        Args:
            ddf: (B, D, *spatial), voxels; the moving image has the same size.

        Raises:
            InputError: ``ddf`` is no field.
        """
        check_ddf(ddf)
        spatial = ddf.shape[2:]
        reached = identity_grid(spatial, ddf.device, ddf.dtype) + ddf
        last = reached.new_tensor([side - 1 for side in spatial]).view(-1, *(1,) * len(spatial))
        beyond = (-reached).clamp(min=0) + (reached - last).clamp(min=0)
        diagonal = sum(side**2 for side in spatial) ** 0.5
        loss: Tensor = torch.linalg.vector_norm(beyond, dim=1).mean() / diagonal  # its gradient at 0 is 0
        return loss
