from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.fields import folding_share
from custom_components.inferers import Estimate, FlowRefinement
from custom_components.inferers.flow_refinement import (
    consistent_flow,
    ddf_to_flow,
    flow_to_ddf,
    invert_flow,
    local_correlation,
    pull,
    similarity_shares,
    to_bytes,
    votes,
)


def test_flow_and_field_are_each_others_inverse() -> None:
    ddf = torch.rand(1, 2, 7, 9)
    assert torch.equal(flow_to_ddf(ddf_to_flow(ddf)), ddf)
    flow = ddf_to_flow(ddf)
    np.testing.assert_array_equal(flow[..., 0], ddf[0, 1])  # x is the column


def test_pull_reads_at_the_displaced_place() -> None:
    values = np.arange(48, dtype=np.float32).reshape(6, 8)
    flow = np.zeros((6, 8, 2), np.float32)
    flow[..., 0], flow[..., 1] = 2, 1
    np.testing.assert_allclose(pull(values, flow)[:5, :6], values[1:, 2:])


def test_inverted_flow_undoes_the_flow() -> None:
    rows, columns = np.mgrid[:60, :70].astype(np.float32)
    flow = np.stack([2 * np.sin(rows / 12), 1.5 * np.cos(columns / 15)], axis=-1)
    inverse = invert_flow(flow)
    back = inverse + pull(flow, inverse)
    assert np.abs(back[8:-8, 8:-8]).max() < 0.01


def test_a_shift_is_found_and_sure(tissue) -> None:
    image = to_bytes(tissue())
    moved = np.roll(image, (3, -2), (0, 1))
    flow, sure = consistent_flow(image, moved, None, 2.0)
    inside = np.s_[60:-60, 80:-80]
    np.testing.assert_allclose(np.median(flow[inside].reshape(-1, 2), axis=0), [-2, 3], atol=0.1)
    assert np.median(sure[inside]) > 0.95


def test_flow_between_unrelated_images_is_not_sure(tissue) -> None:
    image = to_bytes(tissue())
    noise = np.random.default_rng(0).integers(0, 255, image.shape).astype(np.uint8)
    _, sure = consistent_flow(image, noise, None, 2.0)
    assert np.median(sure[60:-60, 80:-80]) < 0.5


def test_local_correlation_is_one_for_the_same_texture_and_minus_one_for_its_negative(tissue) -> None:
    image = to_bytes(tissue())
    inside = np.s_[100:-100, 120:-120]
    assert local_correlation(image, image, 8)[inside].mean() > 0.9
    assert local_correlation(image, 255 - image, 8)[inside].mean() < -0.9
    assert np.abs(local_correlation(image, np.full_like(image, 80), 8)).max() < 1e-3


def test_the_flow_that_aligns_has_the_largest_share(tissue) -> None:
    image = to_bytes(tissue())
    flows = [np.full((*image.shape, 2), shift, np.float32) for shift in (0.0, 4.0)]
    shares = similarity_shares(image, image, flows, 8, 20.0)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert shares[0][100:-100, 120:-120].min() > 0.9


def test_votes_leave_out_what_has_no_weight() -> None:
    flow = np.zeros((16, 24, 2), np.float32)
    flow[..., 0] = 5
    weight = np.zeros((16, 24), np.float32)
    weight[:, 12:] = 0.5
    points, displacements, weights = votes(flow, weight, 8)
    assert points.tolist() == [[4.0, 12.0], [4.0, 20.0], [12.0, 12.0], [12.0, 20.0]]
    assert displacements.tolist() == [[0.0, 5.0]] * 4
    assert weights.tolist() == [0.5] * 4


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_bent_pair_is_refined_below_half_a_voxel(gamma: float, make_pair, error) -> None:
    known = make_pair(amplitude=6, gamma=gamma)
    estimate = FlowRefinement()(known.images, Estimate.identity(known.images.shape))
    assert error(torch.zeros_like(known.truth), known).mean() > 2
    assert error(estimate.ddf, known).mean() < 0.6
    assert folding_share(estimate.ddf) == 0
    assert estimate.stages[-1].details["similarity"] > estimate.stages[-1].details["similarity_before"]


def test_aligned_images_stay_where_they_are(make_pair) -> None:
    known = make_pair()
    estimate = FlowRefinement()(known.images, Estimate.identity(known.images.shape))
    assert estimate.ddf.abs().max() < 0.1
