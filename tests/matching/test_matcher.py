from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from custom_components.common.errors import InputError
from custom_components.matching import Keypoints
from custom_components.matching.matcher import check_images, mutual_nearest, xy_to_row_col


def keypoints(count: int, seed: int, size: float = 100.0) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    descriptors = F.normalize(torch.randn(count, 8, generator=generator), dim=1)
    return Keypoints(torch.rand(count, 2, generator=generator) * size, descriptors, torch.ones(count))


def brute_force(moving: Keypoints, fixed: Keypoints, floor: float, limit: float) -> set[tuple[int, int]]:
    """Every pair that is the best of its row and of its column among the candidates, one at a time."""

    def similarity(i: int, j: int) -> float:
        if float((moving.points[i] - fixed.points[j]).norm()) > limit:
            return -1.0
        return float(moving.descriptors[i] @ fixed.descriptors[j])

    found = set()
    for i in range(len(moving.points)):
        j = max(range(len(fixed.points)), key=lambda j: similarity(i, j))
        back = max(range(len(moving.points)), key=lambda k: similarity(k, j))
        if back == i and similarity(i, j) > floor:
            found.add((i, j))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("floor", "limit"), [(0.0, None), (0.6, None), (0.0, 30.0), (0.4, 15.0)])
def test_mutual_nearest_equals_brute_force(seed: int, floor: float, limit: float | None) -> None:
    moving, fixed = keypoints(40, seed), keypoints(31, seed + 100)
    pairs = mutual_nearest(moving, fixed, min_similarity=floor, max_displacement=limit)
    expected = brute_force(moving, fixed, floor, float("inf") if limit is None else limit)
    assert expected  # a comparison of nothing with nothing would prove nothing
    rows = {tuple(p.tolist()): i for i, p in enumerate(moving.points)}
    columns = {tuple(p.tolist()): j for j, p in enumerate(fixed.points)}
    got = [
        (rows[tuple(m.tolist())], columns[tuple(f.tolist())]) for m, f in zip(pairs.moving, pairs.fixed, strict=True)
    ]
    assert len(got) == len(set(got))
    assert set(got) == expected
    for (i, j), score in zip(got, pairs.score.tolist(), strict=True):
        assert score == pytest.approx(float(moving.descriptors[i] @ fixed.descriptors[j]), abs=1e-6)


@pytest.mark.parametrize("limit", [None, 30.0])
def test_the_ratio_test_compares_the_two_nearest_candidates(limit: float | None) -> None:
    moving, fixed = keypoints(40, 0), keypoints(31, 100)
    everything = mutual_nearest(moving, fixed, max_displacement=limit)
    kept = mutual_nearest(moving, fixed, max_displacement=limit, ratio=0.8)
    distance = torch.cdist(moving.descriptors, fixed.descriptors)
    if limit is not None:
        distance[torch.cdist(moving.points, fixed.points) > limit] = torch.inf
    passed = {tuple(moving.points[i].tolist()) for i, row in enumerate(distance.tolist())
              if sorted(row)[0] < 0.8 * sorted(row)[1]}  # fmt: skip
    expected = [row for row in everything.moving.tolist() if tuple(row) in passed]
    assert kept.moving.tolist() == expected
    assert 0 < len(kept) < len(everything)


def test_a_single_candidate_has_no_rival() -> None:
    one = keypoints(1, 0)
    assert len(mutual_nearest(one, one, ratio=0.5)) == 1


def test_a_permutation_is_found_back() -> None:
    moving = keypoints(50, 0)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    fixed = Keypoints(moving.points[order] + 3, moving.descriptors[order], moving.scores[order])
    pairs = mutual_nearest(moving, fixed, min_similarity=0.99)
    assert len(pairs) == 50
    torch.testing.assert_close(pairs.fixed - pairs.moving, torch.full((50, 2), 3.0))


def test_the_descriptors_are_left_alone() -> None:
    moving, fixed = keypoints(10, 0), keypoints(10, 1)
    before = moving.descriptors.clone(), fixed.descriptors.clone()
    mutual_nearest(moving, fixed, max_displacement=5.0)
    assert torch.equal(moving.descriptors, before[0])
    assert torch.equal(fixed.descriptors, before[1])


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_without_keypoints_there_are_no_pairs(n: int, m: int) -> None:
    assert len(mutual_nearest(keypoints(n, 0), keypoints(m, 1))) == 0


def test_x_and_y_are_swapped_once() -> None:
    assert xy_to_row_col(torch.tensor([[3.0, 7.0]])).tolist() == [[7.0, 3.0]]


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 8), (1, 8, 8), (1, 1, 8, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    good = torch.zeros(1, 1, 8, 8)
    with pytest.raises(InputError, match="takes a moving image"):
        check_images(torch.zeros(shape), good)
    with pytest.raises(InputError, match="takes a fixed image"):
        check_images(good, torch.zeros(shape))
    check_images(good, torch.zeros(1, 1, 9, 7))
