from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from custom_components.matching import PointPairs
from custom_components.matching.affine import apply_affine
from custom_components.matching.outliers import (
    even_sample,
    filter_pairs,
    isolation_forest,
    local_affine,
    local_affine_scores,
    merge_duplicates,
    neighbour_consensus,
    neighbourhood,
)

SIZE = 1000.0
TOLERANCE = 0.011 * SIZE * np.sqrt(2)  # as the bundle sets it: a share of the tissue's diagonal
AFFINE = np.array([[1.05, 0.04, 3.0], [-0.06, 0.97, -5.0], [0.0, 0.0, 1.0]])


def smooth_displacement(points: torch.Tensor) -> torch.Tensor:
    """A smooth warp of up to 30 voxels that no single affine describes."""
    row, column = (points / SIZE * 2 * np.pi).T
    return torch.stack([20 * row.sin() * column.cos() + 10, 25 * (column + 0.5 * row).sin()], dim=1)


def warped_pairs(count: int, wrong: float, seed: int = 0, noise: float = 1.0) -> tuple[PointPairs, torch.Tensor]:
    """Pairs under the smooth warp, a share of them at random places; and each one's distance to the truth."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.rand(count, 2, generator=generator, dtype=torch.float64) * SIZE
    truth = fixed + smooth_displacement(fixed)
    moving = truth + noise * torch.randn(count, 2, generator=generator, dtype=torch.float64)
    bad = torch.arange(count) < round(wrong * count)
    moving[bad] = torch.rand(int(bad.sum()), 2, generator=generator, dtype=torch.float64) * SIZE
    return PointPairs(moving, fixed, torch.ones(count)), (moving - truth).norm(dim=1)


def filtered(pairs: PointPairs, contamination: float, seed: int = 0) -> torch.Tensor:
    """Mask of the pairs that pass all filters."""
    return filter_pairs(pairs, tolerance=TOLERANCE, contamination=contamination, rounds=30, seed=seed)[1]


# even_sample


@pytest.mark.parametrize("cells", [1, 3, 8])
def test_even_sample_takes_one_point_of_every_occupied_cell(cells: int) -> None:
    points = np.random.default_rng(0).random((300, 2)) * [50, 400] + [7, -90]
    chosen = even_sample(points, cells, np.random.default_rng(1))
    span = points.max(axis=0) - points.min(axis=0)
    cell = np.minimum(((points - points.min(axis=0)) / span * cells).astype(int), cells - 1)
    taken = [tuple(c) for c in cell[chosen]]
    assert len(taken) == len(set(taken))
    assert set(taken) == {tuple(c) for c in cell}


def test_even_sample_draws_another_point_each_time() -> None:
    points = np.random.default_rng(0).random((300, 2))
    generator = np.random.default_rng(1)
    assert set(even_sample(points, 3, generator)) != set(even_sample(points, 3, generator))


def test_even_sample_of_coinciding_points_is_one_of_them() -> None:
    assert len(even_sample(np.ones((9, 2)), 8, np.random.default_rng(0))) == 1


# local_affine_scores


def slow_scores(pairs: PointPairs, rounds: int, cells: int, min_angle: float, seed: int) -> list[float]:
    """The scores by loops over rounds, triangles and points, each affine solved from its three corners."""
    source, target = pairs.fixed.numpy(), pairs.moving.numpy()
    generator = np.random.default_rng(seed)
    residuals: list[list[float]] = [[] for _ in source]
    for _ in range(rounds):
        chosen = even_sample(source, cells, generator)
        for corners in chosen[Delaunay(source[chosen]).simplices]:
            a, b = source[corners], target[corners]
            angles = []
            for i in range(3):
                u, v = a[(i + 1) % 3] - a[i], a[(i + 2) % 3] - a[i]
                angles.append(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))
            homogeneous = np.column_stack([a, np.ones(3)])
            change = np.linalg.det(np.column_stack([b, np.ones(3)])) / np.linalg.det(homogeneous)
            if min(angles) <= min_angle or not 1 / 3 < change < 3:
                continue
            affine = np.linalg.solve(homogeneous, b)
            for n, point in enumerate(source):
                inside = np.linalg.solve(homogeneous.T, [*point, 1.0]).min() >= 0
                if inside and n not in chosen:
                    residuals[n].append(float(np.linalg.norm([*point, 1.0] @ affine - target[n])))
    return [float(np.median(r)) if len(r) >= 5 else float("nan") for r in residuals]


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_local_affine_scores_equal_the_slow_reference(wrong: float) -> None:
    pairs, _ = warped_pairs(60, wrong)
    got = local_affine_scores(pairs, rounds=12, cells=4, min_angle=10.0, seed=3)
    expected = slow_scores(pairs, 12, 4, 10.0, 3)
    assert 10 < np.isfinite(expected).sum() < 60
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-8)


def test_an_affine_map_scores_zero() -> None:
    fixed = warped_pairs(200, 0.0)[0].fixed
    score = local_affine_scores(PointPairs(apply_affine(AFFINE, fixed), fixed, torch.ones(200)))
    known = ~score.isnan()
    assert known.double().mean() > 0.7
    assert score[known].max() < 1e-9


def test_a_single_outlier_scores_its_own_distance() -> None:
    fixed = warped_pairs(400, 0.0)[0].fixed
    moving = apply_affine(AFFINE, fixed)
    middle = int((fixed - SIZE / 2).norm(dim=1).argmin())
    moving[middle] += torch.tensor([30.0, 40.0])
    score = local_affine_scores(PointPairs(moving, fixed, torch.ones(400)))
    assert float(score[middle]) == pytest.approx(50, abs=1e-6)
    assert int(score.nan_to_num(0).argmax()) == middle


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_pairs_have_no_score(count: int) -> None:
    assert local_affine_scores(warped_pairs(count, 0.0)[0]).isnan().all()


def test_pairs_on_a_line_have_no_score() -> None:
    line = torch.arange(40, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert local_affine_scores(PointPairs(line, line, torch.ones(40))).isnan().all()


# the filters


@pytest.mark.parametrize("wrong", [0.1, 0.2, 0.3, 0.4, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_pairs_are_removed_and_true_ones_stay(wrong: float, seed: int) -> None:
    pairs, distance = warped_pairs(800, wrong, seed)
    keep = filtered(pairs, contamination=0.05)
    good = distance < TOLERANCE
    precision = (good & keep).sum() / keep.sum()
    recall = (good & keep).sum() / good.sum()
    assert precision >= 0.97
    assert recall >= 0.85


def test_true_pairs_alone_stay() -> None:
    pairs, _ = warped_pairs(800, 0.0)
    assert neighbour_consensus(pairs, tolerance=TOLERANCE).double().mean() > 0.97
    assert local_affine(pairs, tolerance=TOLERANCE).double().mean() > 0.99


@pytest.mark.parametrize("wrong", [0.05, 0.1])
def test_local_affine_alone_removes_a_few_random_pairs(wrong: float) -> None:
    pairs, distance = warped_pairs(800, wrong)
    keep = local_affine(pairs, tolerance=TOLERANCE)
    # pairs outside the triangles have no score and stay, so only the inner ones are judged
    inner = ~local_affine_scores(pairs).isnan()
    assert (distance[keep & inner] < TOLERANCE).double().mean() >= 0.97
    assert keep[distance < TOLERANCE].double().mean() >= 0.85


def test_isolation_forest_finds_the_stray_displacements() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(200, 2, generator=generator) * SIZE
    moving = fixed + torch.randn(200, 2, generator=generator)
    moving[:10] += 300
    keep = isolation_forest(PointPairs(moving, fixed, torch.ones(200)), contamination=0.05)
    assert keep.tolist() == [False] * 10 + [True] * 190


def test_isolation_forest_removes_the_share_that_it_is_told() -> None:
    pairs, _ = warped_pairs(400, 0.3)
    for fraction in (0.05, 0.2):
        assert int((~isolation_forest(pairs, contamination=fraction)).sum()) == pytest.approx(fraction * 400, abs=2)


def test_isolation_forest_says_nothing_about_a_few_pairs() -> None:
    assert isolation_forest(warped_pairs(31, 0.5)[0]).all()
    assert not isolation_forest(warped_pairs(32, 0.5)[0]).all()


def test_neighbour_consensus_says_nothing_about_a_few_pairs() -> None:
    assert neighbour_consensus(warped_pairs(12, 0.5)[0], tolerance=1.0).all()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_filter_takes_hardly_any_pairs(count: int) -> None:
    pairs = warped_pairs(count, 0.0)[0]
    assert filtered(pairs, contamination=0.05).tolist() == [True] * count


def test_the_same_seed_gives_the_same_pairs() -> None:
    pairs, _ = warped_pairs(400, 0.4)
    assert torch.equal(filtered(pairs, 0.05, seed=3), filtered(pairs, 0.05, seed=3))
    scores = [local_affine_scores(pairs, seed=s).nan_to_num(-1) for s in (3, 3, 4)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_each_filter_sees_what_the_one_before_kept() -> None:
    pairs, _ = warped_pairs(400, 0.4)
    forest, keep = filter_pairs(pairs, tolerance=TOLERANCE, contamination=0.1, rounds=10, seed=2)
    assert torch.equal(forest, isolation_forest(pairs, contamination=0.1, seed=2))
    assert not keep[~forest].any()
    rest = pairs.select(forest)
    agrees = neighbour_consensus(rest, tolerance=TOLERANCE)
    affine = local_affine(rest.select(agrees), tolerance=TOLERANCE, rounds=10, seed=2)
    expected = forest.nonzero()[:, 0][agrees][affine]
    assert keep.nonzero()[:, 0].tolist() == expected.tolist()
    alone = neighbourhood(rest, tolerance=TOLERANCE, rounds=10, seed=2)
    assert torch.equal(alone, keep[forest])


# merge_duplicates


def pairs_at(moving: list[list[float]], fixed: list[list[float]], score: list[float]) -> PointPairs:
    return PointPairs(torch.tensor(moving), torch.tensor(fixed), torch.tensor(score))


def test_of_duplicates_the_best_scored_stays() -> None:
    pairs = pairs_at(
        [[50.0, 50.0], [50.5, 50.2], [50.1, 49.9], [90.0, 10.0]],
        [[40.0, 40.0], [40.5, 40.5], [40.2, 40.1], [80.0, 20.0]],
        [0.5, 0.9, 0.7, 0.1],
    )
    merged = merge_duplicates(pairs)
    assert sorted(merged.score.tolist()) == pytest.approx([0.1, 0.9])


def test_close_pairs_on_either_side_of_a_round_number_are_duplicates() -> None:
    merged = merge_duplicates(pairs_at([[10.0, 8.9], [10.0, 9.1]], [[10.0, 9.9], [10.0, 10.1]], [0.5, 0.9]))
    assert merged.score.tolist() == pytest.approx([0.9])


def test_close_pairs_that_disagree_stay() -> None:
    pairs = pairs_at([[50.0, 50.0], [70.0, 50.0]], [[40.0, 40.0], [40.1, 40.1]], [0.5, 0.9])
    assert len(merge_duplicates(pairs)) == 2


def test_no_two_pairs_left_are_duplicates_and_every_one_lost_has_a_better_one_near() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(400, 2, generator=generator) * 40
    moving = fixed + torch.randn(400, 2, generator=generator)
    pairs = PointPairs(moving, fixed, torch.rand(400, generator=generator))
    merged = merge_duplicates(pairs, radius=2.0, agreement=3.0)

    def duplicates(a: PointPairs, b: PointPairs) -> torch.Tensor:
        return (torch.cdist(a.fixed, b.fixed) < 2) & (torch.cdist(a.moving, b.moving) < 3)

    assert int(duplicates(merged, merged).sum()) == len(merged) < 400
    better = duplicates(pairs, merged) & (merged.score[None] >= pairs.score[:, None])
    assert better.any(dim=1).all()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_merge(count: int) -> None:
    assert len(merge_duplicates(warped_pairs(count, 0.0)[0])) == count
