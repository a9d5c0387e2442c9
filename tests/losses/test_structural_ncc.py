from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.losses import StructuralNCCLoss


def maps(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 5])
def test_agrees_with_numpy_over_all_channels_and_voxels(channels) -> None:
    warped, fixed = maps(1, channels), maps(2, channels)
    wanted = np.mean([1 - np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(warped, fixed, strict=True)])
    assert StructuralNCCLoss()(warped, fixed).item() == pytest.approx(wanted)


def test_agrees_with_numpy_under_a_mask() -> None:
    warped, fixed, mask = maps(1), maps(2), maps(3, 1)
    wanted = []
    for a, b, weight in zip(warped, fixed, mask, strict=True):
        covariance = np.cov(a.ravel(), b.ravel(), aweights=weight.expand(3, -1, -1).ravel(), ddof=0)
        wanted.append(1 - covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    assert StructuralNCCLoss()(warped, fixed, mask).item() == pytest.approx(np.mean(wanted))


def test_what_the_mask_leaves_out_has_no_influence() -> None:
    warped, fixed = maps(1), maps(2)
    mask = torch.ones(2, 1, 8, 9, dtype=torch.bool)
    mask[..., :3] = False
    wanted = StructuralNCCLoss()(warped[..., 3:], fixed[..., 3:])
    torch.testing.assert_close(StructuralNCCLoss()(warped, fixed, mask), wanted)


def test_the_mean_is_that_of_all_channels() -> None:
    """Channels of different levels correlate by their levels, unlike the mean of coefficients of the channels."""
    warped, fixed = 0.01 * maps(1), 0.01 * maps(2)
    levels = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1)
    assert StructuralNCCLoss()(warped + levels, fixed + levels).item() < 0.01


def test_brightness_and_contrast_do_not_matter_but_inversion_does() -> None:
    fixed = maps(1)
    assert StructuralNCCLoss()(0.3 * fixed + 2, fixed).item() == pytest.approx(0, abs=1e-9)
    assert StructuralNCCLoss()(-fixed, fixed).item() == pytest.approx(2)


@pytest.mark.parametrize("masked", [False, True])
def test_a_flat_image_counts_one_without_a_gradient(masked) -> None:
    warped = torch.full((2, 3, 8, 9), 0.7, dtype=torch.float64, requires_grad=True)
    loss = StructuralNCCLoss()(warped, maps(1), maps(2, 1) if masked else None)
    loss.backward()
    assert loss.item() == 1
    assert warped.grad is not None
    assert not warped.grad.any()


def test_an_empty_mask_counts_one_without_a_gradient() -> None:
    warped = maps(1).requires_grad_()
    loss = StructuralNCCLoss()(warped, maps(2), torch.zeros(2, 1, 8, 9))
    loss.backward()
    assert loss.item() == 1
    assert warped.grad is not None
    assert not warped.grad.any()


def test_maps_of_less_contrast_than_epsilon_are_flat() -> None:
    fixed = maps(1)
    faint = 0.01 * fixed  # standard deviation about 0.003
    assert StructuralNCCLoss()(faint, fixed).item() == pytest.approx(0, abs=1e-9)
    assert StructuralNCCLoss(epsilon=0.01)(faint, fixed).item() == 1


def test_its_gradient_is_that_of_finite_differences() -> None:
    warped, fixed, mask = (t[:, :, :3, :3] for t in (maps(1, 2), maps(2, 2), maps(3, 1)))
    assert torch.autograd.gradcheck(lambda x: StructuralNCCLoss()(x, fixed, mask), warped.clone().requires_grad_())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"got \(2, 2, 8, 9\) and \(2, 3, 8, 9\)"):
        StructuralNCCLoss()(maps(1, 2), maps(2))
    with pytest.raises(InputError, match=r"one channel, got \(2, 3, 8, 9\)"):
        StructuralNCCLoss()(maps(1), maps(2), maps(3))
    with pytest.raises(InputError, match="epsilon is a positive"):
        StructuralNCCLoss(0)
