from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import SIFTMatcher

Shifted = tuple[Tensor, Tensor, Tensor]


def test_a_shift_is_found(shifted: Shifted) -> None:
    moving, fixed, shift = shifted
    pairs = SIFTMatcher()(moving, fixed)
    error = (pairs.moving - pairs.fixed - shift).norm(dim=1)
    assert len(pairs) > 300
    assert error.median() < 0.1
    assert (error < 1).double().mean() > 0.9


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_found(shifted: Shifted, turns: int) -> None:
    image = shifted[0][..., :320, :300]
    pairs = SIFTMatcher()(torch.rot90(image, turns, (2, 3)), image)
    grid = torch.stack(torch.meshgrid(torch.arange(320.0), torch.arange(300.0), indexing="ij"))
    source = torch.rot90(grid, turns, (1, 2))  # fixed coordinates that each moving voxel shows
    row, column = pairs.moving.round().long().T
    error = (source[:, row, column].T - pairs.fixed).norm(dim=1)
    assert error.median() < 1  # of which up to 0.7 is the rounding


def test_a_stricter_ratio_keeps_a_cleaner_subset(shifted: Shifted) -> None:
    moving, fixed, _ = shifted
    loose, strict = (SIFTMatcher(ratio=r)(moving, fixed) for r in (0.9, 0.5))
    assert 0 < len(strict) < len(loose)
    assert {tuple(p.tolist()) for p in strict.fixed} <= {tuple(p.tolist()) for p in loose.fixed}


def test_no_more_keypoints_than_allowed(shifted: Shifted) -> None:
    assert 0 < len(SIFTMatcher(max_keypoints=100)(*shifted[:2])) <= 101  # OpenCV keeps ties of the last one


def test_an_empty_image_gives_no_pairs(shifted: Shifted) -> None:
    assert len(SIFTMatcher()(torch.zeros_like(shifted[0]), shifted[1])) == 0


def test_a_colour_image_is_refused() -> None:
    with pytest.raises(InputError, match="moving image"):
        SIFTMatcher()(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
