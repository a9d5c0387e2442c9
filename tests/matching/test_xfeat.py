from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import XFeatMatcher
from custom_components.matching.weights import resolve

try:
    resolve("xfeat")
except InputError:
    pytest.skip("weights of XFeat are not installed", allow_module_level=True)

Shifted = tuple[Tensor, Tensor, Tensor]


def errors(matcher: XFeatMatcher, shifted: Shifted) -> Tensor:
    moving, fixed, shift = shifted
    pairs = matcher(moving, fixed)
    return (pairs.moving - pairs.fixed - shift).norm(dim=1)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.7), (1.3,)])
def test_a_shift_is_found(shifted: Shifted, scales: tuple[float, ...]) -> None:
    error = errors(XFeatMatcher(scales=scales), shifted)
    assert len(error) > 300
    assert error.median() <= 1  # keypoints sit on whole voxels
    assert (error < 3).double().mean() > 0.8


def test_positions_at_another_scale_are_not_biased(shifted: Shifted) -> None:
    """Half a voxel lost in rescaling would shift all points of an image against the same image at full size."""
    image = shifted[0]
    points = XFeatMatcher(scales=(1.0,)).detect(image).points
    half = F.interpolate(image, [side // 2 for side in image.shape[-2:]], mode="area")
    matcher = XFeatMatcher(scales=(1.0,))
    coarse = (matcher.detect(half).points + 0.5) * 2 - 0.5
    near = torch.cdist(coarse, points).min(dim=1)
    offset = (points[near.indices] - coarse)[near.values < 1.5]
    assert len(offset) > 100
    assert offset.mean(dim=0).abs().max() < 0.15


def test_several_scales_unite_their_pairs(shifted: Shifted) -> None:
    moving, fixed, _ = shifted
    single = [XFeatMatcher(scales=(s,))(moving, fixed) for s in (1.0, 0.5)]
    both = XFeatMatcher(scales=(1.0, 0.5))(moving, fixed)
    assert len(both) == sum(map(len, single))
    torch.testing.assert_close(both.fixed, torch.cat([p.fixed for p in single]))


def test_points_lie_inside_the_image_and_not_in_its_padding(shifted: Shifted) -> None:
    image = shifted[0][..., :100, :70]
    found = XFeatMatcher().detect(image)
    assert len(found.points) > 20
    assert found.points.min() >= 0
    assert bool((found.points <= torch.tensor([99.0, 69.0])).all())
    torch.testing.assert_close(found.descriptors.norm(dim=1), torch.ones(len(found.points)))


def test_images_may_differ_in_size(shifted: Shifted) -> None:
    moving, fixed, shift = shifted
    error = errors(XFeatMatcher(), (moving[..., :300, :], fixed[..., :, :250], shift))
    assert error.median() <= 1


def test_no_pair_is_farther_apart_than_allowed(shifted: Shifted) -> None:
    moving, fixed, _ = shifted
    pairs = XFeatMatcher(max_displacement=0.06)(moving, fixed)  # of 400 voxels: 24; the shift is 19.2
    assert len(pairs) > 300
    assert (pairs.moving - pairs.fixed).norm(dim=1).max() <= 24


def test_the_same_images_give_the_same_pairs(shifted: Shifted) -> None:
    first, second = (XFeatMatcher()(*shifted[:2]) for _ in range(2))
    assert torch.equal(first.moving, second.moving)
    assert torch.equal(first.fixed, second.fixed)


def test_an_empty_image_gives_too_few_pairs_to_register(shifted: Shifted) -> None:
    assert len(XFeatMatcher()(torch.zeros_like(shifted[0]), shifted[1])) < 25


def test_the_weights_are_loaded_at_the_first_use_only(tmp_path: Path) -> None:
    matcher = XFeatMatcher(weights=tmp_path / "absent.pt")
    with pytest.raises(InputError, match=r"absent\.pt does not exist"):
        matcher.detect(torch.zeros(1, 1, 64, 64))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="'xfeat' lack"):
        XFeatMatcher(weights=tmp_path / "other.pt").detect(torch.zeros(1, 1, 64, 64))
