"""The known pair of the benchmarks: its images agree with its field, at any size and in any slabs."""

from __future__ import annotations

import pytest
import torch

from benchmarks import known_pair
from benchmarks.known_pair import mean_error, tissue_pair, truth
from custom_components.fields import folding_share, warp


def test_the_fixed_image_is_the_moving_one_under_the_truth() -> None:
    images, known = tissue_pair(96, 0.03), truth(96, 0.03)
    assert 2 < known.norm(dim=1).max() < 5
    assert folding_share(known) == 0
    difference = warp(images.moving, known, padding_mode="border") - images.fixed
    assert difference.abs().max() < 1e-4
    assert (images.moving - images.fixed).abs().mean() > 0.01


def test_slabs_of_the_truth_are_parts_of_the_whole(monkeypatch) -> None:
    known = truth(90, 0.02)
    torch.testing.assert_close(truth(90, 0.02, 17, 20), known[:, :, 17:37], atol=1e-4, rtol=0)
    whole = tissue_pair(90, 0.02)
    monkeypatch.setattr(known_pair, "_in_slabs", lambda size: [(0, 40), (40, 40), (80, 10)])
    torch.testing.assert_close(tissue_pair(90, 0.02).fixed, whole.fixed, atol=1e-4, rtol=0)


def test_beyond_its_largest_size_the_image_goes_on_mirrored(monkeypatch) -> None:
    monkeypatch.setattr(known_pair, "ENLARGED", 64)
    moving = tissue_pair(150, 0.02).moving
    assert torch.equal(moving[..., :64, 64:128], moving[..., :64, :64].flip(3))
    assert torch.equal(moving[..., 64:128, 64:128], moving[..., :64, :64].flip(2, 3))
    assert torch.equal(moving[..., 128:, 128:], moving[..., :22, :22])


def test_the_error_is_the_mean_distance_without_the_rim() -> None:
    known = truth(100, 0.02)
    assert mean_error(known, 100, 0.02) == pytest.approx(0, abs=1e-6)
    assert mean_error(None, 100, 0.02) == pytest.approx(float(known.norm(dim=1)[:, 5:-5, 5:-5].mean()), rel=1e-5)
    assert mean_error(known + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), 100, 0.02) == pytest.approx(5, rel=1e-5)


def test_the_error_does_not_depend_on_the_slabs(monkeypatch) -> None:
    whole = mean_error(None, 100, 0.02)
    monkeypatch.setattr(known_pair, "_in_slabs", lambda size: [(first, 3) for first in range(0, 99, 3)] + [(99, 1)])
    assert mean_error(None, 100, 0.02) == pytest.approx(whole, rel=1e-5)
