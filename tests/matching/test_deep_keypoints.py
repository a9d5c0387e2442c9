from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.fields import identity_grid, sample_at, warp
from custom_components.matching import DeepKeypointMatcher, PointPairs, XFeatDescriptor, add_matches, window_points
from custom_components.matching.deep_keypoints import radius_nms, ratio_test
from custom_components.matching.patch_descriptors import describe_patches
from custom_components.matching.point_descriptor import descriptor_similarity

Scene = tuple[Tensor, Tensor, Tensor]


def pixels(image: Tensor, points: Tensor) -> Tensor:
    """A descriptor without a network: the grey levels around a point, at two sizes."""

    def centred(patches: Tensor) -> Tensor:
        return (patches - patches.mean(dim=(2, 3), keepdim=True)).flatten(1)

    return describe_patches(image, points, centred, half_widths=(4, 8), rotations=1, size=8, batch=4096)


@pytest.fixture(scope="module")
def scene(tissue: Tensor) -> Scene:
    """(moving, fixed, ddf): a smooth warp of up to 10 voxels, and other grey levels."""
    moving = tissue[..., :320, :352]
    rows, columns = identity_grid((320, 352))
    ddf = torch.stack([7 * torch.sin(columns / 60) * torch.cos(rows / 75), 7 * torch.cos(columns / 65 + rows / 90)])
    noise = torch.randn(moving.shape, generator=torch.Generator().manual_seed(0))
    return moving, (warp(moving, ddf[None]) ** 0.6 + 0.01 * noise).clamp(0.001, 1), ddf[None]


def errors(pairs: PointPairs, ddf: Tensor) -> Tensor:
    return (pairs.fixed + sample_at(ddf, pairs.fixed) - pairs.moving).norm(dim=1)


@pytest.mark.parametrize("descriptor", [XFeatDescriptor(), pixels], ids=["xfeat", "pixels"])
def test_a_warp_is_found(scene: Scene, descriptor: Callable[[Tensor, Tensor], Tensor]) -> None:
    moving, fixed, ddf = scene
    matcher = DeepKeypointMatcher(descriptor)
    pairs = matcher(moving, fixed)
    error = errors(pairs, ddf)
    assert (error < 4.7).double().mean() > 0.97  # 0.01 of the diagonal
    assert error.median() < 1
    assert len(pairs) > 150
    # they lie everywhere: in nearly each of 5 x 5 parts of the image
    assert len({(int(r // 64), int(c // 70.4)) for r, c in pairs.fixed.tolist()}) >= 23
    assert (pairs.score.diff() <= 0).all()
    assert pairs.score.min() > matcher.min_similarity
    again = matcher(moving, fixed)
    assert torch.equal(pairs.moving, again.moving)
    assert torch.equal(pairs.fixed, again.fixed)


def test_most_points_that_are_in_both_images_are_matched(scene: Scene) -> None:
    moving, fixed, ddf = scene
    matcher = DeepKeypointMatcher(XFeatDescriptor())
    here, there = (window_points(image, per_window=8) for image in (fixed, moving))
    reachable = torch.cdist(here + sample_at(ddf, here), there).amin(dim=1) < 1.5
    pairs = matcher.candidates(moving, fixed)
    right = pairs.fixed[errors(pairs, ddf) < 3]
    assert len(right) > 0.4 * int(reachable.sum())


# the tests of a pair


def brute_force(matcher: DeepKeypointMatcher, moving: Tensor, fixed: Tensor) -> set[tuple[tuple[int, ...], ...]]:
    """Pairs that pass zone, similarity, ratio and mutual test, one point at a time."""
    points = [window_points(image) for image in (moving, fixed)]
    read = [pixels(image, p) for image, p in zip((moving, fixed), points, strict=True)]
    alike = descriptor_similarity(*read).tolist()
    diagonal = float(torch.tensor(moving.shape[2:]).float().norm())

    def best(side: int, i: int) -> int | None:
        def level(j: int) -> float:
            return float(alike[i][j] if side == 0 else alike[j][i])

        others = points[1 - side]
        reach = matcher.search_radius * diagonal
        near = [j for j, q in enumerate(others) if float((points[side][i] - q).norm()) <= reach]
        if not near:
            return None
        first = max(near, key=level)
        far = [j for j in near if float((others[j] - others[first]).norm()) > matcher.rival_radius * diagonal]
        rival = max((level(j) for j in far), default=-1.0)
        return first if level(first) > matcher.min_similarity and rival < matcher.ratio * level(first) else None

    found = set()
    for i in range(len(points[0])):
        j = best(0, i)
        if j is not None and best(1, j) == i:
            found.add((tuple(points[0][i].int().tolist()), tuple(points[1][j].int().tolist())))
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"search_radius": 0.12},
        {"search_radius": 0.3, "ratio": 0.7},
        {"search_radius": 0.3, "min_similarity": 0.8, "ratio": 2.0},
        {"search_radius": 0.3, "rival_radius": 0.1, "ratio": 0.9},
    ],
)
def test_the_candidates_equal_brute_force(scene: Scene, settings: dict[str, float]) -> None:
    moving, fixed = (image[..., 80:170, 90:190] for image in scene[:2])
    matcher = DeepKeypointMatcher(pixels, per_window=1, **settings)  # type: ignore[arg-type]
    expected = brute_force(matcher, moving, fixed)
    assert len(expected) > 5
    pairs = matcher.candidates(moving, fixed)
    both = zip(pairs.moving.int().tolist(), pairs.fixed.int().tolist(), strict=True)
    assert {(tuple(m), tuple(f)) for m, f in both} == expected
    assert len(pairs) == len(expected)


def test_the_similarity_matrix_is_worked_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    points, others = (torch.rand(n, 2, generator=generator) * 50 for n in (37, 23))
    a, b = (F.normalize(torch.randn(n, 2, 5, generator=generator), dim=2) for n in (37, 23))
    whole = ratio_test(points, a, others, b, search_radius=20, rival_radius=5)
    monkeypatch.setattr("custom_components.matching.deep_keypoints.ROWS_AT_ONCE", 8)
    for one, other in zip(whole, ratio_test(points, a, others, b, search_radius=20, rival_radius=5), strict=True):
        torch.testing.assert_close(one, other)
    alone = ratio_test(points, a, others + 1000, b, search_radius=20, rival_radius=5)
    assert (alone[1] == -torch.inf).all()


def slow_spaced(pairs: PointPairs, spacing: float) -> list[int]:
    kept: list[int] = []
    for i in pairs.score.argsort(descending=True, stable=True).tolist():
        far = [float((side[i] - side[k]).norm()) > spacing for k in kept for side in (pairs.moving, pairs.fixed)]
        if all(far):
            kept.append(i)
    return kept


@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_spacing_equals_brute_force(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    pairs = PointPairs(*(torch.rand(*s, generator=generator) for s in ((count, 2), (count, 2), (count,))))
    left = radius_nms(pairs, 0.07)
    kept = slow_spaced(pairs, 0.07)
    assert torch.equal(left.fixed, pairs.fixed[kept])
    assert torch.equal(left.moving, pairs.moving[kept])
    if count == 200:
        assert 20 < len(left) < 150


# what is not there is not found


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_an_image_without_structure_has_no_matches(scene: Scene, level: float) -> None:
    flat = torch.full((1, 1, 96, 96), level)
    matcher = DeepKeypointMatcher(pixels)
    assert len(matcher(flat, scene[1][..., :96, :96])) == 0
    assert len(matcher(scene[0][..., :96, :96], flat)) == 0
    assert len(matcher(flat, flat)) == 0


def test_matches_lie_on_both_masks(scene: Scene) -> None:
    moving, fixed, _ = scene
    moving_mask, fixed_mask = torch.zeros_like(moving), torch.zeros_like(fixed)
    moving_mask[..., 100:, :] = 1
    fixed_mask[..., :200] = 1
    pairs = DeepKeypointMatcher(pixels)(moving, fixed, moving_mask, fixed_mask)
    assert len(pairs) > 20
    assert pairs.moving[:, 0].min() >= 100
    assert pairs.fixed[:, 1].max() < 200


def test_wrong_pairs_among_right_ones_are_dropped(scene: Scene) -> None:
    moving, fixed, ddf = scene
    loose = DeepKeypointMatcher(pixels, search_radius=0.1, ratio=1.0, min_similarity=0.0)
    before = errors(loose.candidates(moving, fixed), ddf)
    after = errors(loose(moving, fixed), ddf)
    wrong = [float((error > 5).double().mean()) for error in (before, after)]
    assert wrong[0] > 0.02
    assert wrong[1] < 0.3 * wrong[0]


def test_few_pairs_are_vouched_for_by_nobody(tissue: Tensor) -> None:
    image = tissue[..., :24, :24]
    matcher = DeepKeypointMatcher(pixels, spacing=0.4)
    assert 0 < len(radius_nms(matcher.candidates(image, image), 0.4 * 24 * 2**0.5)) < 6
    assert len(matcher(image, image)) == 0


def test_negative_shares_are_refused() -> None:
    with pytest.raises(InputError, match=r"search_radius is a share of the image's diagonal, 0 or more, got -0\.1"):
        DeepKeypointMatcher(pixels, search_radius=-0.1)
    with pytest.raises(InputError, match="takes a moving image"):
        DeepKeypointMatcher(pixels)(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))


# add_matches


def at(moving: list[list[float]], fixed: list[list[float]]) -> PointPairs:
    return PointPairs(torch.tensor(moving), torch.tensor(fixed), torch.arange(len(fixed)).float())


def test_new_matches_are_added_away_from_the_known_ones() -> None:
    known = at([[10.0, 10.0], [50.0, 50.0]], [[12.0, 10.0], [52.0, 50.0]])
    new = at([[11.0, 11.0], [90.0, 90.0], [30.0, 30.0], [15.1, 10.0]], [[70.0, 5.0], [52.0, 55.0], [31.0, 30.0],
                                                                         [17.1, 10.0]])  # fmt: skip
    joined = add_matches(known, new, radius=5.0)
    assert torch.equal(joined.moving, torch.cat([known.moving, new.moving[[2, 3]]]))
    assert torch.equal(joined.fixed, torch.cat([known.fixed, new.fixed[[2, 3]]]))
    assert joined.score.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nothing_known_or_nothing_new_changes_nothing() -> None:
    some = at([[10.0, 10.0]], [[12.0, 10.0]])
    assert len(add_matches(some, PointPairs.empty(), 5.0)) == len(add_matches(PointPairs.empty(), some, 5.0)) == 1
    assert len(add_matches(PointPairs.empty(), PointPairs.empty(), 5.0)) == 0
