"""The ACROBAT challenge's scoring against hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.metrics import acrobat_score, annotator_error, fill_missing, pair_error
from custom_components.metrics.acrobat import PairError

EXTENT = np.full((2, 2), 100.0)


def test_error_is_the_mean_distance_to_both_annotators():
    warped = np.array([[10.0, 10.0], [50.0, 50.0]])
    first, second = warped + np.array([3, 4]), warped + np.array([0, 1])
    assert annotator_error(warped, (first, second), EXTENT) == pytest.approx([3, 3])


def test_points_are_clipped_to_the_fixed_image_each_axis_by_its_own_extent():
    warped = np.array([[-30.0, 20.0], [500.0, 500.0]])
    truth = np.array([[0.0, 20.0], [40.0, 100.0]])
    assert annotator_error(warped, (truth,), np.array([[40.0, 100.0]] * 2)) == pytest.approx([0, 0])


def test_missing_points_stay_unregistered():
    warped = np.array([[1.0, 2.0], [np.nan, 3.0]])
    assert fill_missing(warped, np.array([[7.0, 7.0], [8.0, 9.0]])).tolist() == [[1, 2], [8, 9]]


def test_percentile_is_linear_between_points():
    found = pair_error(np.arange(5.0))
    assert (found.p90, found.mean, found.count) == (pytest.approx(3.6), 2, 5)


def test_aggregates_over_pairs():
    found = acrobat_score([PairError(p90, mean, 50) for p90, mean in ((10, 1), (20, 2), (60, 6))])
    assert (found.pairs, found.median_p90, found.mean_p90, found.mean_of_means) == (3, 20, 30, 3)
    assert found.variance_p90 == pytest.approx(1400 / 3)
    assert found.two_std_p90 == pytest.approx(2 * np.sqrt(1400 / 3))


def test_nothing_to_score_is_an_input_error():
    with pytest.raises(InputError, match="no points"):
        pair_error(np.zeros(0))
    with pytest.raises(InputError, match="no pairs"):
        acrobat_score([])
    with pytest.raises(InputError, match="no annotator"):
        annotator_error(EXTENT, (), EXTENT)


def test_wrong_arrays_are_input_errors():
    with pytest.raises(InputError, match=r"warped points \(2, 2\), another \(1, 2\)"):
        annotator_error(EXTENT, (EXTENT[:1],), EXTENT)
    with pytest.raises(InputError, match="fill missing points first"):
        annotator_error(EXTENT * np.nan, (EXTENT,), EXTENT)
