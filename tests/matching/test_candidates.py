from __future__ import annotations

import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.matching import window_points
from custom_components.matching.candidates import corner_response, grid_bucketing


def in_windows(response: Tensor, window: int, stride: int, count: int) -> set[tuple[int, int]]:
    """The strongest responses of each window, one window at a time."""
    found = set()
    for top in range(0, response.shape[0], stride):
        for left in range(0, response.shape[1], stride):
            part = response[top : top + window, left : left + window]
            places = sorted(
                ((float(part[i, j]), i, j) for i in range(part.shape[0]) for j in range(part.shape[1])), reverse=True
            )
            found |= {(top + i, left + j) for strength, i, j in places[:count] if strength > 0}
    return found


@pytest.mark.parametrize(("window", "stride", "count"), [(16, 8, 1), (10, 10, 3), (7, 5, 2)])
def test_every_window_gives_its_strongest_corners(tissue: Tensor, window: int, stride: int, count: int) -> None:
    image = tissue[..., 100:161, 40:93]
    points = window_points(image, window=window, stride=stride, per_window=count, quality=0.0)
    expected = in_windows(corner_response(image), window, stride, count)
    assert {(int(r), int(c)) for r, c in points.tolist()} == expected
    assert len(points) == len(expected) > 10  # each once


def test_a_corner_is_found_where_it_is() -> None:
    image = torch.zeros(1, 1, 40, 60)
    image[..., :21, :31] = 1.0
    points = window_points(image, torch.ones_like(image), quality=0.1)
    distance = (points - torch.tensor([20.5, 30.5])).norm(dim=1)
    assert distance.min() < 1.5


def test_points_lie_on_the_mask(tissue: Tensor) -> None:
    image = tissue[..., :96, :128]
    mask = torch.zeros_like(image)
    mask[..., 20:50, 64:100] = 1
    points = window_points(image, mask)
    assert len(points) > 5
    assert mask[0, 0, points[:, 0].long(), points[:, 1].long()].all()
    dark = image.clone()
    dark[..., :50, :] = 0
    assert window_points(dark)[:, 0].min() >= 50


def test_a_limit_keeps_the_points_spread(tissue: Tensor) -> None:
    image = tissue[..., :256, :192]
    all_points, few = window_points(image), window_points(image, max_points=60)
    assert len(few) == 60 < len(all_points)
    assert {tuple(p) for p in few.tolist()} <= {tuple(p) for p in all_points.tolist()}
    cells = {(int(r // 64), int(c // 64)) for r, c in few.tolist()}
    assert len(cells) == 12
    assert torch.equal(few, window_points(image, max_points=60))


def test_spread_takes_the_strongest_of_every_cell_before_any_second() -> None:
    # two cells: 12 strong points in one corner, 2 weak ones in the other
    points = torch.cat([torch.arange(12)[:, None].repeat(1, 2) % 5, torch.tensor([[90, 90], [91, 91]])])
    strength = torch.cat([torch.linspace(1, 2, 12), torch.tensor([0.1, 0.2])])
    assert grid_bucketing(points, strength, 3, (100, 100)).tolist() == [10, 11, 13]
    assert grid_bucketing(points, strength, 4, (100, 100)).tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_an_image_without_structure_has_no_corners(level: float) -> None:
    image = torch.full((1, 1, 50, 70), level)
    assert window_points(image, torch.ones_like(image)).shape == (0, 2)
    assert window_points(image).shape == (0, 2)


def test_wrong_sizes_are_refused() -> None:
    image = torch.rand(1, 1, 20, 20)
    with pytest.raises(InputError, match=r"got \(1, 3, 20, 20\)"):
        window_points(image.expand(1, 3, 20, 20))
    with pytest.raises(InputError, match="must have the shape of its image"):
        window_points(image, torch.ones(1, 1, 10, 10))
    with pytest.raises(InputError, match="1 or more, got 16, 0, 1, 3"):
        window_points(image, stride=0)
