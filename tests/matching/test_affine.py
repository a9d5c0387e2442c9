from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.matching import PointPairs
from custom_components.matching.affine import apply_affine, fit_affine, refine_affine

TRUTH = np.array([[0.94, -0.31, 40.0], [0.28, 1.03, -25.0], [0.0, 0.0, 1.0]])


def noisy_pairs(count: int, outliers: float, noise: float = 0.5, seed: int = 0) -> tuple[PointPairs, torch.Tensor]:
    """Pairs under ``TRUTH`` with Gaussian noise, a share of them at random places; and which are good."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.rand(count, 2, generator=generator) * 500
    moving = apply_affine(TRUTH, fixed) + noise * torch.randn(count, 2, generator=generator)
    good = torch.ones(count, dtype=torch.bool)
    good[: round(outliers * count)] = False
    moving[~good] = torch.rand(int((~good).sum()), 2, generator=generator) * 500
    return PointPairs(moving, fixed, torch.ones(count)), good


def test_apply_affine_is_the_homogeneous_product() -> None:
    points = torch.tensor([[0.0, 0.0], [10.0, 3.0]], dtype=torch.float64)
    homogeneous = np.column_stack([points.numpy(), np.ones(2)])
    np.testing.assert_allclose(apply_affine(TRUTH, points).numpy(), (homogeneous @ TRUTH.T)[:, :2])


@pytest.mark.parametrize("outliers", [0.0, 0.2, 0.4])
def test_the_affine_is_recovered_among_outliers(outliers: float) -> None:
    pairs, good = noisy_pairs(300, outliers)
    fit = fit_affine(pairs, threshold=3.0)
    assert fit is not None
    corners = torch.tensor([[0, 0], [0, 500], [500, 0], [500, 500]], dtype=torch.float64)
    error = (apply_affine(fit.matrix, corners) - apply_affine(TRUTH, corners)).norm(dim=1)
    assert error.max() < 0.5
    # a random pair lies within 3 voxels of the truth by chance once in about 9000
    assert (fit.inliers == good).double().mean() > 0.98
    assert fit.count == int(fit.inliers.sum())
    assert fit.residual == pytest.approx(0.5 * np.sqrt(2 * np.log(2)), rel=0.15)  # Rayleigh median


def test_an_exact_affine_is_exact() -> None:
    pairs, _ = noisy_pairs(50, 0.0, noise=0.0)
    fit = fit_affine(pairs, threshold=3.0)
    assert fit is not None
    np.testing.assert_allclose(fit.matrix, TRUTH, atol=1e-4)
    np.testing.assert_array_equal(fit.matrix[2], [0, 0, 1])


def test_the_same_pairs_give_the_same_affine() -> None:
    pairs, _ = noisy_pairs(200, 0.4)
    first, second = fit_affine(pairs, 3.0), fit_affine(pairs, 3.0)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert torch.equal(first.inliers, second.inliers)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_pairs_give_no_affine(count: int) -> None:
    assert fit_affine(noisy_pairs(count, 0.0)[0], 3.0) is None


def test_points_that_coincide_give_no_affine() -> None:
    pairs = PointPairs(torch.zeros(20, 2), torch.zeros(20, 2), torch.ones(20))
    assert fit_affine(pairs, 3.0) is None


@pytest.mark.parametrize("outliers", [0.0, 0.4])
def test_a_rough_affine_is_refined_to_the_noise(outliers: float) -> None:
    pairs, _ = noisy_pairs(400, outliers)
    rough = TRUTH + np.array([[0.01, -0.01, 3.0], [0.01, 0.0, -3.0], [0.0, 0.0, 0.0]])
    corners = torch.tensor([[0.0, 0.0], [500.0, 0.0], [0.0, 500.0], [500.0, 500.0]], dtype=torch.float64)
    found = refine_affine(pairs, rough, scale=8.0)
    assert (apply_affine(found, corners) - apply_affine(TRUTH, corners)).norm(dim=1).max() < 0.3


def test_pairs_on_a_line_or_far_away_leave_the_affine() -> None:
    fixed = torch.arange(20.0)[:, None].expand(20, 2)
    line = PointPairs(apply_affine(TRUTH, fixed), fixed, torch.ones(20))
    assert refine_affine(line, TRUTH, 5.0) is TRUTH
    far = PointPairs(line.moving + 1000, fixed, torch.ones(20))
    assert refine_affine(far, TRUTH, 5.0) is TRUTH
