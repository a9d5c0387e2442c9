"""What speaks for a proposal is seen in its features, at any size and contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custom_components.inferers import PairImages
from custom_components.inferers.consensus import within_both
from custom_components.inferers.flow_refinement import ddf_to_flow, to_bytes
from custom_components.inferers.proposal_features import FEATURES, proposal_features


def features(known, flows, invert: bool = False):
    images = known.images
    fixed, moving = to_bytes(images.fixed), to_bytes(images.moving)
    sure = [np.ones(images.shape, np.float32)] * len(flows)
    pairs = [(fixed, 255 - moving if invert else moving)]
    found = proposal_features(images, flows, sure, pairs, within_both(images))
    assert found.shape[:2] == (len(flows), len(FEATURES))
    assert np.isfinite(found).all()
    middle = tuple(slice(side // 3, 2 * side // 3) for side in found.shape[2:])
    return {name: found[:, index][:, *middle].mean(axis=(1, 2)) for index, name in enumerate(FEATURES)}


def cut(known, height: int, width: int):
    """The middle of a pair and of its field."""
    top, left = ((side - new) // 2 for side, new in zip(known.images.shape, (height, width), strict=True))
    window = (..., slice(top, top + height), slice(left, left + width))
    images = (known.images.moving, known.images.fixed, known.images.moving_mask, known.images.fixed_mask)
    return replace(known, images=PairImages(*(image[window] for image in images)), truth=known.truth[window])


@pytest.mark.parametrize("size", [(131, 121), (250, 180)])
def test_the_true_field_is_the_most_alike(size, make_pair) -> None:
    known = cut(make_pair(amplitude=5), *size)
    true = ddf_to_flow(known.truth)
    seen = features(known, [true, np.zeros_like(true), -true])
    for name in ("correlation_fine", "correlation", "correlation_coarse"):
        assert seen[name].argmax() == 0
    assert seen["distance"].argmin() == 0
    assert seen["motion"][1] < seen["motion"][0] == pytest.approx(seen["motion"][2])
    assert seen["apart"][1] < seen["apart"][0]  # standing still is the median of the three


def test_the_distance_of_descriptors_is_blind_to_the_sign_of_contrast(make_pair) -> None:
    known = make_pair(amplitude=5)
    true = ddf_to_flow(known.truth)
    plain, inverted = (features(known, [true, np.zeros_like(true)], invert) for invert in (False, True))
    assert inverted["correlation"][0] < 0 < plain["correlation"][0]
    np.testing.assert_allclose(inverted["distance"], plain["distance"])


def test_one_proposal_is_enough(make_pair) -> None:
    known = make_pair()
    assert features(known, [ddf_to_flow(known.truth)])["apart"] == pytest.approx(np.log(3e-4), abs=1e-4)
