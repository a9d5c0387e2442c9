from __future__ import annotations

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.losses import MINDSSCLoss, ShrunkenLoss


class Recorder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        self.seen.append(parts)
        return parts[0].mean() * len(self.seen)


@pytest.mark.parametrize("spatial", [(12, 16), (8, 12, 16)])
def test_images_and_mask_are_averaged_in_blocks(spatial) -> None:
    inner = Recorder()
    warped, fixed, mask = (torch.rand(1, 1, *spatial) for _ in range(3))
    total = ShrunkenLoss(inner, (1, 2, 4))(warped, fixed, mask)
    assert float(total) == pytest.approx(float(warped.mean()) * (1 + 2 + 3) / 3, rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(inner.seen[0], (warped, fixed, mask), strict=True))
    for factor, parts in zip((2, 4), inner.seen[1:], strict=True):
        for small, large in zip(parts, (warped, fixed, mask), strict=True):
            assert small.shape[2:] == tuple(side // factor for side in spatial)
            corner = large[(0, 0, *(slice(0, factor) for _ in spatial))]
            assert float(small.flatten()[0]) == pytest.approx(float(corner.mean()), rel=1e-5)


def test_without_a_mask() -> None:
    image = torch.rand(1, 1, 24, 24)
    assert float(ShrunkenLoss(MINDSSCLoss(), (1, 2))(image, image)) == 0


@pytest.mark.parametrize("factors", [(), (0, 2)])
def test_blocks_have_at_least_one_voxel(factors) -> None:
    with pytest.raises(InputError, match="blocks of at least one voxel"):
        ShrunkenLoss(MINDSSCLoss(), factors)
