"""XFeat's features as a backbone, against XFeat itself."""

from __future__ import annotations

import pytest
import torch
from kornia.feature.xfeat import XFeatModel
from torch import nn

from custom_components.common.errors import InputError
from custom_components.networks import XFeatFeatures


@pytest.mark.parametrize("enlarged", [1, 2, 4])
def test_xfeat_maps_are_those_of_xfeat(enlarged: int) -> None:
    torch.manual_seed(0)
    whole = XFeatModel().eval()
    maps = XFeatFeatures(enlarged)
    maps.load_state_dict({k: v for k, v in whole.state_dict().items() if k in maps.state_dict()})
    image = torch.rand(2, 1, 64, 96)
    large = nn.functional.interpolate(image, scale_factor=enlarged, mode="bicubic") if enlarged > 1 else image
    with torch.no_grad():
        expected = whole(large)[0]
        found = maps.train()(image)  # statistics are the stored ones in training too
    assert found.shape == (2, 64, 64 // maps.stride, 96 // maps.stride)
    torch.testing.assert_close(found, expected)
    assert not any(weight.requires_grad for weight in maps.parameters())


def test_another_enlargement_is_refused() -> None:
    with pytest.raises(InputError, match="1, 2, 4 or 8 before XFeat, got 3"):
        XFeatFeatures(3)
