"""The precision of matches against displacements that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.keypoint_precision import configured, judge, keypoint_precision, landmark_displacement, markdown
from custom_components.common.errors import InputError
from custom_components.matching import PointPairs, SIFTMatcher

SHIFT = np.array([3.0, -2.0])


def square(count: int, seed: int = 0) -> np.ndarray:
    """Landmarks over 10..90, its corners among them."""
    inner = np.random.default_rng(seed).uniform(10, 90, (count, 2))
    return np.vstack([[[10, 10], [10, 90], [90, 10], [90, 90]], inner])


def test_an_affine_displacement_is_continued_exactly_within_the_hull() -> None:
    fixed = square(20)
    matrix = np.array([[0.05, 0.02], [-0.01, 0.03]])
    points = np.array([[50.0, 50.0], [12.0, 80.0], [5.0, 50.0], [95.0, 95.0]])
    displacement, inside = landmark_displacement(fixed, fixed + fixed @ matrix + SHIFT, points)
    assert inside.tolist() == [True, True, False, False]
    np.testing.assert_allclose(displacement[inside], (points @ matrix + SHIFT)[inside], atol=1e-6)


@pytest.mark.parametrize("fixed", [np.zeros((0, 2)), np.ones((5, 2)), np.arange(10.0).reshape(5, 2)])
def test_landmarks_that_span_no_area_judge_nothing(fixed: np.ndarray) -> None:
    assert not landmark_displacement(fixed, fixed, np.ones((3, 2)))[1].any()


def test_right_and_wrong_matches_are_counted() -> None:
    fixed = square(20)
    where = torch.tensor([[50.0, 50.0], [30.0, 40.0], [60.0, 70.0], [1.0, 1.0]])
    error = torch.tensor([[0.4, 0.0], [0.0, 0.8], [5.0, 0.0], [0.0, 0.0]])
    pairs = PointPairs(where + torch.from_numpy(SHIFT).float() + error, where, torch.ones(4))
    mask = np.zeros((100, 100), dtype=bool)
    mask[:, :50] = True
    found = judge(pairs, fixed, fixed + SHIFT, mask, 100.0)
    assert (found.kept, found.judged) == (4, 3)
    assert found.right == pytest.approx((2 / 3, 1 / 3))
    assert found.still == (0.0, 0.0)
    near = [np.hypot(*(np.argwhere(mask) - point).T) <= 5 for point in where.numpy()]
    assert found.covered == pytest.approx(np.any(near, axis=0).mean(), abs=0.02)
    none = judge(PointPairs.empty(), fixed, fixed, mask, 100.0)
    assert (none.kept, none.covered) == (0, 0.0)
    assert np.isnan(none.right).all()
    lines = markdown(["a", "b"], [found, none]).splitlines()
    assert lines[-1].startswith("| mean | 2 | 2 | 0.667 | 0.000 | 0.333 | 0.000 |")
    assert markdown(["b"], [none]).count("nan") == 8


def test_a_table_is_printed_for_a_configured_matcher(shifted_table: Path) -> None:
    config = shifted_table.parent / "matcher.yaml"
    config.write_text(
        "count: 5\nmatcher:\n  _target_: custom_components.matching.SIFTMatcher\n  max_keypoints: '@count'"
    )
    table = keypoint_precision(str(shifted_table), str(config), overrides={"count": 900}, status="training")
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]
    assert cells[0] == "p0"
    assert int(cells[1]) > 20
    assert float(cells[3]) > 0.9
    assert float(cells[4]) == 0.0  # 3 pixels are more than 0.01 of the diagonal
    with pytest.raises(InputError, match="no pair has status 'none'"):
        keypoint_precision(str(shifted_table), status="none")


def test_a_config_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        configured(str(tmp_path / "none.yaml"), "matcher", {})
    (tmp_path / "a.yaml").write_text("other: 1")
    with pytest.raises(InputError, match="has no key 'matcher'"):
        configured(str(tmp_path / "a.yaml"), "matcher", {})
    (tmp_path / "b.yaml").write_text("m:\n  _target_: custom_components.matching.SIFTMatcher")
    assert isinstance(configured(str(tmp_path / "b.yaml"), "m", {}), SIFTMatcher)
