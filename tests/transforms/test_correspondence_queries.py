"""Queries and answers show the same structure, whichever image is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.fields import sample
from custom_components.networks.cotr import from_canvas
from custom_components.transforms import CorrespondenceQueries, RandomAppearance, RandomField, SyntheticPairs


def pairs(tissue: float = 1.0) -> SyntheticPairs:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1, 120, 120)), [0, 3, 3])
    image = torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()
    mask = torch.full_like(image, tissue)
    pair = {"working_moving": image, "working_fixed": image, "mask_moving": mask, "mask_fixed": mask}
    plain = RandomAppearance(tone=0, blur=0.3, light=0, noise=0, gamma=0)  # grey values tell whether the place is right
    return SyntheticPairs([pair], 12, 64, [1.0], RandomField(8.0), plain)


@pytest.mark.parametrize("tissue", [1.0, 0.0])
def test_queries_and_answers_show_the_same(tissue) -> None:
    queries = CorrespondenceQueries(pairs(tissue), 40)
    swapped = 0
    for index in range(len(queries)):
        item = queries[index]
        assert torch.equal(item["label"][:, 2:], item["queries"])
        left = from_canvas(item["queries"], (64, 64), second=False)
        right = from_canvas(item["label"][:, :2], (64, 64), second=True)
        assert left.shape == right.shape == (40, 2)
        for points in (left, right):
            assert points.min() >= -1e-4
            assert points.max() <= 63 + 1e-4
        grey = [
            sample(image[None, None], points.T[None, :, :, None])[0, 0, :, 0]
            for image, points in zip(item["image"], (left, right), strict=True)
        ]
        assert (grey[0] - grey[1]).abs().median() < 0.02
        on_grid = (left - left.round()).abs().max() < 1e-3  # points are drawn at voxels of the fixed image
        swapped += not on_grid
    assert 0 < swapped < len(queries)


def test_an_item_is_the_same_again_and_another_in_the_next_epoch() -> None:
    queries = CorrespondenceQueries(pairs(), 10)
    first, again = queries[3], queries[3]
    assert all(torch.equal(first[key], again[key]) for key in first)
    queries.set_epoch(1)
    assert not torch.equal(first["queries"], queries[3]["queries"])


def test_no_points_are_refused() -> None:
    with pytest.raises(InputError, match="at least one point"):
        CorrespondenceQueries(pairs(), 0)
