"""Similarity of a pair after the affine that a network gave."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.losses.patch_ncc import PatchNCCLoss


class AffineSimilarityLoss(nn.Module):
    """Warps the moving image by an affine and compares it with the fixed one; no labels take part.

    Args:
        similarity: of (warped, fixed), lower is better; None takes the global correlation, as in the source:
            Wodzinski & Mueller, "Learning-based affine registration of histological images", WBIR 2020.
        shrink: the images are compared at so many times less resolution; structures must overlap to attract.
    """

    def __init__(self, similarity: nn.Module | None = None, shrink: int = 4) -> None:
        super().__init__()
        self.shrink = shrink
        self.similarity = similarity or PatchNCCLoss()

    def forward(self, theta: Tensor, image: Tensor) -> Tensor:
        """Scalar.

        Args:
            theta: (B, 2, 3), fixed -> moving, row/col, normalised coordinates, as ``networks.AffineNet`` gives.
            image: (B, 2, H, W), moving and fixed.
        """
        moving, fixed = F.avg_pool2d(image, self.shrink).split(1, dim=1)
        # torch's grids are in x, y order
        grid = F.affine_grid(theta[:, [1, 0]][:, :, [1, 0, 2]], list(moving.shape), align_corners=True)
        loss: Tensor = self.similarity(F.grid_sample(moving, grid, align_corners=True), fixed)
        return loss
