"""Local normalised cross-correlation."""

from __future__ import annotations

from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.losses.masking import check_shapes, crop_margin, weighted_mean


class WindowedNCCLoss(nn.Module):
    """Minus the squared correlation coefficient in a window about each voxel, averaged under the mask.

    -1 is best, and so is an inverted image; a flat window gives 0. This is MONAI's
    ``LocalNormalizedCrossCorrelationLoss`` with two differences: only windows that lie inside the image count, as
    padding with zeros would correlate with itself; and the floor of the variance is higher, as MONAI's default is
    below the rounding errors of float32, where flat windows other than black give anything down to -1 and beyond.

    Args:
        spatial_dims: 2 or 3.
        kernel_size: side of the window, voxels, odd.
        minimum_variance: of the grey values, which span about 1; windows below it count less and less.

    Raises:
        InputError: ``kernel_size`` is even or below 3.
    """

    def __init__(self, spatial_dims: int = 2, kernel_size: int = 7, minimum_variance: float = 2e-5) -> None:
        super().__init__()
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise InputError(f"kernel_size is odd and at least 3, got {kernel_size}")
        self.kernel_size = kernel_size
        self.correlation = LocalNormalizedCrossCorrelationLoss(
            spatial_dims, kernel_size, reduction="none", smooth_dr=minimum_variance * kernel_size**spatial_dims
        )

    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar.

        Args:
            warped: (B, 1, *spatial).
            fixed: (B, 1, *spatial).
            mask: (B, 1, *spatial), weights in 0..1 of the windows about each voxel.

        Raises:
            InputError: a side is shorter than the window.
        """
        check_shapes(warped, fixed, mask)
        if min(fixed.shape[2:]) < self.kernel_size:
            raise InputError(f"the window has {self.kernel_size} voxels a side, the image {tuple(fixed.shape[2:])}")
        margin = self.kernel_size // 2
        loss = crop_margin(self.correlation(warped, fixed), margin)
        return weighted_mean(loss, None if mask is None else crop_margin(mask, margin))
