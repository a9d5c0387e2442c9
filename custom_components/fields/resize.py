"""Fields on coarser or finer grids of the same field of view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.fields.compose import check_ddf


def resize(ddf: Tensor, spatial: Sequence[int]) -> Tensor:
    """Resample a field to ``spatial`` voxels, half-pixel correct, its components in the new voxels.

    Args:
        ddf: (B, D, *old), voxels of the old grid.
        spatial: (D,) new size.

    Returns:
        (B, D, *spatial), voxels of the new grid.
    """
    dimensions = check_ddf(ddf)
    factor = torch.tensor(
        [new / old for new, old in zip(spatial, ddf.shape[2:], strict=True)],
        dtype=ddf.dtype,
        device=ddf.device,
    )
    mode = "bilinear" if dimensions == 2 else "trilinear"
    finer = F.interpolate(ddf, tuple(spatial), mode=mode, align_corners=False)
    return finer * factor.view(1, -1, *(1,) * dimensions)
