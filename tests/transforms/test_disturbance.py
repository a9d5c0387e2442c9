"""Noise and blur: their amount, their range, and that they are the same again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.pairs import Pair
from custom_components.transforms import Corruptd


def data(spatial: tuple[int, ...], name: str = "a") -> dict:
    pair = Pair(id=name, moving=Path("m"), fixed=Path("f"))
    return {
        "pair": pair,
        "moving": None,
        "fixed": None,
        "working_moving": torch.full((1, *spatial), 0.5),
        "working_fixed": torch.rand(1, *spatial),
    }


@pytest.mark.parametrize("spatial", [(40, 50), (16, 18, 20)])
def test_noise_has_its_deviation_and_is_the_pair_s_own(spatial) -> None:
    disturbed = Corruptd(["moving", "fixed"], noise=0.1)
    first, again, other = (disturbed(data(spatial, name))["working_moving"] for name in "aab")
    assert (first - 0.5).std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    strong = Corruptd(["moving"], noise=2.0)(data(spatial))["working_moving"]
    assert strong.min() == 0
    assert strong.max() == 1


@pytest.mark.parametrize("spatial", [(40, 50), (20, 22, 24)])
def test_blur_is_scipy_s(spatial) -> None:
    given = data(spatial)
    found = Corruptd(["fixed"], blur=1.5)(given)["working_fixed"][0].numpy()
    expected = gaussian_filter(given["working_fixed"][0].numpy(), 1.5, truncate=4, mode="constant")
    assert abs(found - expected).max() < 1e-4


def test_nothing_is_done_without_amounts_and_negative_ones_are_refused() -> None:
    given = data((8, 8))
    assert Corruptd(["fixed"])(given)["working_fixed"] is given["working_fixed"]
    with pytest.raises(InputError, match="got -1 and 0"):
        Corruptd(["fixed"], noise=-1, blur=0)
