"""Global normalised cross-correlation of feature maps."""

from __future__ import annotations

from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.losses.patch_ncc import correlation


class StructuralNCCLoss(nn.Module):
    """One minus the correlation coefficient of all channels and voxels of a pair at once, averaged over the batch.

    0 is best, 1 uncorrelated, 2 inverted. Of dense descriptors it compares structure, of grey images it is the usual
    global NCC. Source: Ge et al., SFG, and Wei et al., "IPCG" (IEEE TMI 2024), over dense SIFT. Difference: the source
    adds 1e-3 to the denominator, which weighs more the smaller the values are; here the coefficient is exact, and
    ``epsilon`` the standard deviation below which maps have no contrast.

    Args:
        epsilon: in the units of the maps; 1e-3 suits grey values in 0..1 and descriptors of length 1.

    Raises:
        InputError: ``epsilon`` is not positive.
    """

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        if not epsilon > 0:
            raise InputError(f"epsilon is a positive standard deviation, got {epsilon}")
        self.epsilon = epsilon

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar; a pair of which one has no contrast counts 1 and gives no gradient.

        Args:
            warped: (B, C, *spatial).
            fixed: the same.
            mask: (B, 1, *spatial), weights in 0..1.

        Raises:
            InputError: the shapes are not these.
        """
        if warped.shape != fixed.shape or fixed.ndim not in (4, 5):
            raise InputError(
                f"warped and fixed are two (B, C, H, W) or (B, C, D, H, W), got {tuple(warped.shape)} and "
                f"{tuple(fixed.shape)}"
            )
        if mask is not None:
            if mask.shape != (len(fixed), 1, *fixed.shape[2:]):
                raise InputError(f"a mask of {tuple(fixed.shape)} has one channel, got {tuple(mask.shape)}")
            mask = mask.to(fixed).expand_as(fixed)
        coefficients, _ = correlation(warped, fixed, mask, self.epsilon**2)
        return 1 - coefficients.mean()
