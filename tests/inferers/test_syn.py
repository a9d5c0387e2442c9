"""ANTs as a step of a chain: direction, units, both dimensions, features."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.fields import warp
from custom_components.inferers import Estimate, PairImages, SyN
from custom_components.networks import FeatureEncoder

with_ants = pytest.mark.skipif(importlib.util.find_spec("ants") is None, reason="ANTsPy is not installed")


def shifted(spatial: tuple[int, ...], shift: tuple[float, ...]) -> PairImages:
    image = gaussian_filter(np.random.default_rng(0).random(spatial), 3.0)
    fixed = torch.from_numpy((image - image.min()) / (image.max() - image.min())).float()[None, None]
    back = -torch.tensor(shift).view(1, -1, *[1] * len(spatial)).expand(1, -1, *spatial)
    return PairImages(warp(fixed, back.contiguous(), padding_mode="border"), fixed, *[torch.ones_like(fixed)] * 2)


@with_ants
@pytest.mark.parametrize(("spatial", "shift"), [((64, 80), (1.5, -2.0)), ((32, 40, 36), (1.0, -1.5, 0.5))])
def test_a_shift_is_found_in_voxels_of_the_array(spatial, shift) -> None:
    found = SyN()(shifted(spatial, shift), Estimate.identity(spatial))
    inner = found.ddf[(0, slice(None), *(slice(side // 4, -side // 4) for side in spatial))]
    assert np.allclose(inner.flatten(1).mean(1).numpy(), shift, atol=0.25)
    assert found.stages[0].details["channels"] == 1


@with_ants
def test_features_are_further_channels() -> None:
    torch.manual_seed(0)
    extractor = FeatureEncoder(2, 1, (2, 3)).eval()
    images = shifted((64, 64), (1.0, 0.0))
    assert SyN(extractor)(images, Estimate.identity((64, 64))).stages[0].details["channels"] == 6
    assert SyN(extractor, levels=[0])(images, Estimate.identity((64, 64))).stages[0].details["channels"] == 3


def test_without_ants_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ants", None)
    with pytest.raises(InputError, match=r"warpzoo\[baselines\]"):
        SyN()
