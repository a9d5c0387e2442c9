"""Crops about correspondences: what is asked and what is answered show the same structure at every zoom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.engines import MatchedCrops, annotated, pseudo_labels, training_pairs
from custom_components.fields import sample
from custom_components.matching import PointPairs
from custom_components.networks.cotr import from_canvas
from custom_components.pairs import Pair, write_image, write_points
from custom_components.transforms import CommonPadd, ReadPaird, StainGreyd, WorkingSized

SIDE = 48
SHIFT = (6, -4)


def prepared(name: str = "a") -> dict[Any, Any]:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(160, 180)), 3)
    image = torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()
    moving, fixed = image[10:140, 10:160], image[10 + SHIFT[0] : 140 + SHIFT[0], 10 + SHIFT[1] : 160 + SHIFT[1]]
    return {
        "pair": Pair(id=name, moving=Path("m"), fixed=Path("f")),
        "working_moving": moving[None], "working_fixed": fixed[None],
        "mask_moving": torch.ones_like(moving[None]), "mask_fixed": torch.ones_like(fixed[None]),
    }  # fmt: skip


def known(count: int = 80) -> PointPairs:
    generator = torch.Generator().manual_seed(0)
    fixed = 15 + torch.rand(count, 2, generator=generator) * torch.tensor([95.0, 115.0])
    return PointPairs(fixed + torch.tensor(SHIFT), fixed, torch.ones(count))


@pytest.mark.parametrize("zoom", [1.0, 0.5, 0.25])
def test_queries_and_answers_show_the_same(zoom) -> None:
    crops = MatchedCrops([prepared()], [{"a": known()}], 12, 20, SIDE, [zoom])
    asked = set()
    for index in range(len(crops)):
        item = crops[index]
        assert item["image"].shape == (2, SIDE, SIDE)
        assert torch.equal(item["label"][:, 2:], item["queries"])
        ends = (item["queries"], False), (item["label"][:, :2], True)
        points = [from_canvas(canvas, (SIDE, SIDE), second) for canvas, second in ends]
        for part in points:
            assert part.min() >= -1e-4
            assert part.max() <= SIDE - 1 + 1e-4
        grey = [
            sample(image[None, None], part.T[None, :, :, None])[0, 0, :, 0]
            for image, part in zip(item["image"], points, strict=True)
        ]
        assert (grey[0] - grey[1]).abs().median() < 0.02
        asked.add(tuple(points[0][0].tolist()))
    assert len(asked) == len(crops)


def test_an_item_is_the_same_again_and_another_in_the_next_epoch() -> None:
    crops = MatchedCrops([prepared()], [{"a": known()}], 4, 10, SIDE)
    first, again = crops[2], crops[2]
    assert all(torch.equal(first[key], again[key]) for key in first)
    crops.set_epoch(1)
    assert not torch.equal(first["image"], crops[2]["image"])


def test_few_landmarks_are_drawn_as_often_as_many_matches() -> None:
    """The landmarks lie elsewhere than the matches, so a crop tells its source."""
    matches = {name: known().select(torch.arange(40)) for name in "abcdefgh"}
    marks = {"a": PointPairs(torch.tensor([[20.0, 20.0]]), torch.tensor([[14.0, 24.0]]), torch.ones(1))}
    crops = MatchedCrops([prepared(name) for name in "abcdefgh"], [matches, marks], 60, 5, SIDE, [0.5])
    single = sum(len(torch.unique(crops[index]["queries"], dim=0)) == 1 for index in range(len(crops)))
    assert 15 < single < 45


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InputError, match="no pair has matches"):
        MatchedCrops([prepared()], [{"a": PointPairs.empty()}, {}])


class Twice:
    """Known matches, a quarter of them wrong."""

    def __call__(self, moving: Tensor, fixed: Tensor) -> PointPairs:
        pairs = known(200)
        wrong = pairs.moving.clone()
        wrong[:50] += 25
        return PointPairs(wrong, pairs.fixed, pairs.score)


def test_pseudo_labels_are_filtered_and_not_doubled() -> None:
    found = pseudo_labels([prepared()], [Twice(), Twice()], tolerance=0.01)["a"]
    error = (found.moving - found.fixed - torch.tensor(SHIFT)).norm(dim=1)
    assert 100 < len(found) <= 200
    assert (error < 1).float().mean() > 0.97


def test_landmarks_are_carried_to_the_working_grid(tmp_path) -> None:
    image = np.full((3, 120, 200), 240, dtype=np.uint8)
    image[:, 20:100, 30:170] = np.random.default_rng(0).integers(60, 160, (3, 80, 140))
    points = np.array([[30.0, 40.0], [80.5, 120.25]])
    for name in ("moving", "fixed"):
        write_image(tmp_path / f"{name}.png", image)
        write_points(tmp_path / f"{name}.csv", points)
    (tmp_path / "pairs.csv").write_text(
        "id,moving,fixed,moving_landmarks,fixed_landmarks\n"
        "p,moving.png,fixed.png,moving.csv,fixed.csv\nq,moving.png,fixed.png,,\n"
    )
    steps = [ReadPaird(), WorkingSized(("moving", "fixed"), 100), StainGreyd(("moving", "fixed"))]
    steps.append(CommonPadd(("moving", "fixed"), margin=8))

    def prepare(data: dict[Any, Any]) -> dict[Any, Any]:
        for step in steps:
            data = step(data)
        return data

    pairs = list(training_pairs(tmp_path / "pairs.csv", prepare))
    found = annotated(pairs)
    assert list(found) == ["p"]
    padding = (np.array(pairs[0]["working_fixed"].shape[1:]) - (60, 100)) / 2  # the same on both sides
    expected = torch.tensor((points + 0.5) / 2 - 0.5 + padding).float()  # half the size
    assert torch.allclose(found["p"].fixed, expected, atol=1e-3)
    assert torch.equal(found["p"].fixed, found["p"].moving)
