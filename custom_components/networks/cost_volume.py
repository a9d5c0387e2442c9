"""Correlation of two feature maps over a window of displacements."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cost_volume(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Mean over the channels of ``first(x) * second(x + d)`` for all d in [-radius, radius]^2; zero beyond the border.

    Source: PWC-Net (Sun et al., CVPR 2018), eq. 2; MaskFlownet (Zhao et al., CVPR 2020).

    Args:
        first: (B, C, H, W).
        second: the same.
        radius: voxels.

    Returns:
        (B, (2 * radius + 1)^2, H, W); channel ``(dr + radius) * (2 * radius + 1) + dc + radius`` is d = (dr, dc).
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return banded_volume(first, second, radius)
    else:  # an else, so that TorchScript does not compile what it has no name for
        # the exporter to ONNX loses the sizes of the bands' views
        return (shifted_volume if torch.compiler.is_exporting() else banded_volume)(first, second, radius)


def shifted_volume(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """``cost_volume`` as it is written: a product for each displacement, those along a row at once."""
    height, width = first.shape[2:]
    reach = F.pad(second, [radius, radius, radius, radius])
    window = range(2 * radius + 1)
    columns = torch.stack([reach[..., column : column + width] for column in window], dim=1)
    return torch.cat([(first[:, None] * columns[..., row : row + height, :]).mean(dim=2) for row in window], dim=1)


def banded_volume(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """``cost_volume`` by matrix products.

    The products of a stretch of a row with the stretch of ``second`` that it can reach are one small matrix, of which
    the wanted entries are a band: about three times the arithmetic of 81 shifted products, but a matrix product, and
    nothing of the size of 81 feature maps is written.
    """
    batch, channels, height, width = first.shape
    window, stretch = 2 * radius + 1, 16
    beyond = -width % stretch
    count = (width + beyond) // stretch
    # (B, H, stretches, voxels, C) and (B, H + 2 r, stretches, C, voxels + 2 r)
    left = F.pad(first, [0, beyond]).view(batch, channels, height, count, stretch).permute(0, 2, 3, 4, 1)
    right = F.pad(second, [radius, radius + beyond, radius, radius])
    right = right.unfold(3, stretch + 2 * radius, stretch).permute(0, 2, 3, 1, 4)
    left, right = (left / channels).contiguous(), right.contiguous()
    volume = []
    for row in range(window):
        products = torch.matmul(left, right[:, row : row + height]).flatten(3)
        # rows of stretch + 2 r entries, read as rows that are one longer, begin one entry later each
        band = F.pad(products, [0, stretch]).unflatten(3, [stretch, stretch + 2 * radius + 1])[..., :window]
        volume.append(band.flatten(2, 3)[:, :, :width])
    return torch.cat(volume, dim=-1).permute(0, 3, 1, 2)
