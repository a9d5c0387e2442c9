"""XFeat's maps in one tensor are those of kornia's network, and the matcher takes an export of them."""

from __future__ import annotations

import pytest
import torch
from kornia.feature.xfeat import XFeatModel

from custom_components.matching import XFeatMatcher
from custom_components.networks import SplitMaps, XFeatMaps


@pytest.fixture
def maps() -> XFeatMaps:
    return XFeatMaps().eval()


def test_the_maps_are_those_of_kornia(maps):
    theirs = XFeatModel().eval()
    theirs.load_state_dict(maps.net.state_dict())
    image = torch.rand(2, 1, 96, 64)
    with torch.no_grad():
        expected, found = theirs(image), SplitMaps(maps)(image)
        assert maps(image).shape == (2, 130, 12, 8)
    assert len(found) == 3
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_scripted_they_are_the_same_at_any_size(maps):
    scripted = torch.jit.script(maps)
    for shape in ((1, 1, 32, 32), (3, 1, 64, 128)):
        image = torch.rand(shape)
        with torch.no_grad():
            assert torch.allclose(scripted(image), maps(image), atol=1e-5)


def test_the_matcher_finds_the_same_with_the_export(maps, tmp_path):
    torch.save(maps.state_dict(), tmp_path / "model.pt")
    torch.jit.script(maps).save(str(tmp_path / "model.ts"))
    image = torch.rand(1, 1, 100, 90)
    found = [XFeatMatcher(weights=tmp_path / name).detect(image) for name in ("model.pt", "model.ts")]
    assert len(found[0].points) > 0
    assert torch.equal(found[0].points, found[1].points)
    assert torch.allclose(found[0].descriptors, found[1].descriptors, atol=1e-5)
