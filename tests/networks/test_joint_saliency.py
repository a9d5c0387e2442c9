"""Joint saliency by slow references in NumPy and SciPy, its range, its invariances, and images that show nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from custom_components.common.errors import InputError
from custom_components.networks import JointSaliency
from custom_components.networks.joint_saliency import distance, saliency

Array = NDArray[np.float64]
FLOOR = 1e-9
SPATIAL = [(13, 18), (7, 9, 8)]

each_dimension = pytest.mark.parametrize("spatial", SPATIAL, ids=["2-D", "3-D"])


def texture(spatial: Sequence[int], seed: int = 0, batch: int = 1) -> Tensor:
    """(B, 1, *spatial) smooth, in 0..1."""
    rng = np.random.default_rng(seed)
    noise = np.stack([gaussian_filter(rng.normal(size=spatial), 1.2) for _ in range(batch)])[:, None]
    return torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()


def slow_tensors(image: Array, sigma: float = 1.0) -> Array:
    """(*spatial, D, D) of an image (*spatial)."""
    dimensions = image.ndim
    steps = [np.diff(image, axis=axis, append=image.take([-1], axis)) for axis in range(dimensions)]
    rows = [
        np.stack([gaussian_filter(a * b, sigma, mode="constant", truncate=4.0) for b in steps], axis=-1) for a in steps
    ]
    return np.stack(rows, axis=-2)


def slow_distance(first: Array, second: Array) -> Array:
    """Of matrices in the last two axes."""
    difference = first - second
    square, trace = (difference**2).sum((-2, -1)), np.trace(difference, axis1=-2, axis2=-1)
    distance: Array = np.sqrt(np.maximum(8 * math.pi / 15 * (square - trace**2 / 3), 0) + FLOOR)
    return distance


def slow_saliency(tensors: Array) -> Array:
    """Voxel by voxel over its 8 or 26 neighbours; indices are clamped at the border."""
    spatial = tensors.shape[:-2]
    result = np.zeros(spatial)
    for place in np.ndindex(*spatial):
        for offset in product((-1, 0, 1), repeat=len(spatial)):
            if any(offset):
                near = tuple(
                    min(max(i + step, 0), side - 1) for i, step, side in zip(place, offset, spatial, strict=True)
                )
                result[place] += float(slow_distance(tensors[place], tensors[near]))
    return result / 3 ** len(spatial)


def upper(matrices: Array) -> Tensor:
    """(1, D (D + 1) / 2, *spatial) of (*spatial, D, D)."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return torch.from_numpy(np.moveaxis(matrices[..., rows, columns], -1, 0)[None])


@each_dimension
@pytest.mark.parametrize("sigma", [0.1, 1.0, 1.7])
def test_structure_tensors_are_those_of_scipys_gaussian(spatial, sigma) -> None:
    image = texture(spatial)
    wanted = upper(slow_tensors(image[0, 0].double().numpy(), sigma))
    found = JointSaliency(sigma).tensors(image)
    assert found.shape[1] == {2: 3, 3: 6}[len(spatial)]
    torch.testing.assert_close(found, wanted.float(), atol=1e-7, rtol=1e-5)


def test_the_tensors_of_a_ramp_are_its_slopes_and_fade_towards_the_far_border() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    tensors = JointSaliency(1.0).tensors((0.02 * rows + 0.01 * columns)[None, None])
    assert tensors[0, :, 12, 15].tolist() == pytest.approx([4e-4, 2e-4, 1e-4], rel=1e-4)
    assert tensors[0, 0, -1, 15] < 0.6 * tensors[0, 0, 12, 15]


@pytest.mark.parametrize(
    ("difference", "squared"),
    [
        ([1, 0, 0], 16 * math.pi / 45),  # 8 pi / 15 (1 - 1 / 3)
        ([1, 0, 1], 16 * math.pi / 45),  # 8 pi / 15 (2 - 4 / 3)
        ([1, 0, -1], 16 * math.pi / 15),  # 8 pi / 15 * 2
        ([0, 1, 0], 16 * math.pi / 15),
        ([1, 0, 0, 0, 0, 0], 16 * math.pi / 45),
        ([1, 0, 0, -1, 0, 0], 16 * math.pi / 15),
        ([0, 0, 0, 0, 2, 0], 64 * math.pi / 15),
        ([3, 0, 0, 3, 0, 3], 0),  # what is alike in all directions of a volume doesn't count
    ],
)
def test_closed_forms_of_the_distance(difference, squared) -> None:
    tensor = torch.tensor(difference, dtype=torch.float64).view(1, -1, *[1] * (2 if len(difference) == 3 else 3))
    other = torch.full_like(tensor, 0.3)
    assert distance(other + tensor, other).item() == pytest.approx(math.sqrt(squared + FLOOR))
    assert distance(other, other).item() == pytest.approx(math.sqrt(FLOOR))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 999), dimensions=st.sampled_from([2, 3]), size=st.sampled_from([1e-3, 1.0, 50.0]))
def test_the_distance_is_that_of_whole_matrices_and_symmetric(seed, dimensions, size) -> None:
    entries = size * np.random.default_rng(seed).normal(size=(2, *(2,) * dimensions, dimensions, dimensions))
    first, second = entries + entries.swapaxes(-1, -2)
    found = distance(upper(first), upper(second))
    torch.testing.assert_close(found, torch.from_numpy(slow_distance(first, second))[None, None])
    assert torch.equal(found, distance(upper(second), upper(first)))


@each_dimension
def test_saliency_is_the_mean_distance_from_the_neighbours_which_the_border_repeats(spatial) -> None:
    tensors = slow_tensors(texture(spatial)[0, 0].double().numpy())
    torch.testing.assert_close(saliency(upper(tensors))[0, 0], torch.from_numpy(slow_saliency(tensors)))


@each_dimension
def test_of_identical_images_it_is_the_stretched_saliency(spatial) -> None:
    module, image = JointSaliency(), texture(spatial, batch=2)
    joint = module(image, image)
    own = saliency(module.tensors(image))
    assert torch.equal(joint, module.stretched(own))
    assert joint.amin((1, 2, 3) if len(spatial) == 2 else (1, 2, 3, 4)).tolist() == [0, 0]
    assert joint.flatten(1).amax(1).tolist() == pytest.approx([1, 1], abs=1e-3)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    seed=st.integers(0, 999),
    spatial=st.sampled_from([(1, 1), (1, 9), (5, 6), (21, 17), (1, 3, 4), (6, 5, 7)]),
    contrast=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    reference_implementation=st.booleans(),
)
def test_values_lie_in_0_to_1_whatever_the_images(seed, spatial, contrast, reference_implementation) -> None:
    first, second = torch.rand(2, 2, 1, *spatial, generator=torch.Generator().manual_seed(seed))
    joint = JointSaliency(reference_implementation=reference_implementation)(first, contrast * second)
    assert joint.shape == first.shape
    assert joint.min() >= 0
    assert joint.max() <= 1


@each_dimension
def test_it_does_not_depend_on_the_order_of_the_images_or_of_the_axes_or_on_inversion(spatial) -> None:
    module, first, second = JointSaliency(), texture(spatial, 1), texture(spatial, 2)
    joint = module(first, second)
    assert torch.equal(joint, module(second, first))
    turned = module(first.transpose(2, -1), second.transpose(2, -1)).transpose(2, -1)
    torch.testing.assert_close(turned, joint, atol=1e-4, rtol=0)
    torch.testing.assert_close(module(1 - first, second), joint, atol=1e-3, rtol=0)
    torch.testing.assert_close(module(first, 1 - first), module(first, first), atol=1e-2, rtol=0)


@each_dimension
def test_less_contrast_in_one_image_counts_by_the_tensors_alone(spatial) -> None:
    """The saliencies are stretched, so that the distance, 3/4 of the tensor at half the contrast, is all that stays."""
    module, image = JointSaliency(), texture(spatial)
    tensors = module.tensors(image)
    length = module.stretched(distance(tensors, torch.zeros_like(tensors)))
    wanted = module(image, image) / (1 + length)
    torch.testing.assert_close(module(image, 0.5 * image), wanted, atol=0.02, rtol=0)


def test_a_large_shift_lowers_it_at_the_edges() -> None:
    image = torch.zeros(1, 1, 80, 80)
    image[..., 20:40, 20:40] = 1
    image = torch.from_numpy(gaussian_filter(image.numpy(), (0, 0, 1, 1)))
    module = JointSaliency()
    edges = module(image, image) > 0.2
    means = [float(module(image, image.roll((shift, shift), (2, 3)))[edges].mean()) for shift in (0, 1, 3, 20)]
    assert means[0] > means[1] > means[2] > means[3]
    assert means[3] < 0.1 * means[0]


@each_dimension
@pytest.mark.parametrize("which", ["fixed", "warped", "both"])
def test_a_constant_image_gives_zero_and_finite_gradients(spatial, which) -> None:
    flat, image = torch.full((2, 1, *spatial), 0.4), texture(spatial, batch=2)
    fixed = (flat if which != "warped" else image).clone().requires_grad_()
    warped = (flat if which != "fixed" else image).clone().requires_grad_()
    joint = JointSaliency()(fixed, warped)
    assert not joint.any()
    (joint * torch.rand_like(joint)).sum().backward()
    assert torch.isfinite(fixed.grad).all()
    assert torch.isfinite(warped.grad).all()


@pytest.mark.parametrize("reference_implementation", [False, True])
def test_the_literal_form_takes_two_constant_images_too(reference_implementation) -> None:
    flat = torch.full((1, 1, 9, 9), 0.4, requires_grad=True)
    joint = JointSaliency(reference_implementation=reference_implementation)(flat, flat)
    joint.sum().backward()
    assert not joint.any()
    assert torch.isfinite(flat.grad).all()


@each_dimension
def test_gradients_reach_both_images(spatial) -> None:
    fixed, warped = texture(spatial, 1).requires_grad_(), texture(spatial, 2).requires_grad_()
    JointSaliency()(fixed, warped).sum().backward()
    for image in (fixed, warped):
        assert torch.isfinite(image.grad).all()
        assert image.grad.abs().max() > 0


def test_no_gradient_passes_through_the_extrema_unless_literal() -> None:
    values = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    JointSaliency().stretched(values).sum().backward()
    flat = values.detach().flatten(1)
    slope = 1 / (flat.amax(1) - flat.amin(1) + 1e-6)
    torch.testing.assert_close(values.grad, slope.view(2, 1, 1, 1).expand_as(values))
    values.grad = None
    JointSaliency(reference_implementation=True).stretched(values).sum().backward()
    assert len(values.grad.unique()) > 2


@each_dimension
def test_items_of_a_batch_do_not_see_each_other_unless_literal(spatial) -> None:
    first, second = texture(spatial, 1, 3), texture(spatial, 2, 3)
    first[2] *= 0.1

    def differs(module: Callable[[Tensor, Tensor], Tensor]) -> float:
        alone = torch.cat([module(first[i : i + 1], second[i : i + 1]) for i in range(3)])
        return float((alone - module(first, second)).abs().max())

    assert differs(JointSaliency()) == 0
    assert differs(JointSaliency(reference_implementation=True)) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_leaves_it_as_it_is(dtype) -> None:
    module, first, second = JointSaliency(), texture((13, 18), 1), texture((13, 18), 2)
    wanted = module(first, second)
    with torch.autocast("cpu", dtype):
        found = module(first, second)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)
    halves = first.to(dtype), second.to(dtype)
    with torch.autocast("cpu", dtype):
        assert torch.equal(module(*halves), module(*(half.float() for half in halves)))


def test_double_precision_gives_single() -> None:
    module, first, second = JointSaliency(), texture((13, 18), 1), texture((13, 18), 2)
    found = module(first.double(), second.double())
    assert found.dtype == torch.float32
    assert torch.equal(found, module(first, second))


@each_dimension
def test_the_forms_are_those_of_the_formulas_in_numpy(spatial) -> None:
    first, second = texture(spatial, 1, 2), texture(spatial, 2, 2)
    second[1] *= 0.4
    tensors = [np.stack([slow_tensors(item[0].double().numpy()) for item in images]) for images in (first, second)]
    far = slow_distance(*tensors)
    salient = [np.stack([slow_saliency(item) for item in items]) for items in tensors]

    def reference_implementation(t: Array) -> Array:
        return (t - t.min()) / t.max()

    def own(t: Array) -> Array:
        axes = tuple(range(1, t.ndim))
        least, greatest = t.min(axes, keepdims=True), t.max(axes, keepdims=True)
        stretched: Array = (t - least) / (greatest - least + 1e-6)
        return stretched

    wanted = reference_implementation(np.minimum(*salient) / (1 + reference_implementation(far)))
    found = JointSaliency(reference_implementation=True)(first, second)[:, 0].double()
    torch.testing.assert_close(found, torch.from_numpy(wanted), atol=1e-4, rtol=0)
    wanted = np.minimum(own(salient[0]), own(salient[1])) / (1 + own(far))
    found = JointSaliency()(first, second)[:, 0].double()
    torch.testing.assert_close(found, torch.from_numpy(wanted), atol=1e-4, rtol=0)


@each_dimension
@pytest.mark.parametrize("reference_implementation", [False, True])
def test_a_scripted_module_gives_the_same(spatial, reference_implementation) -> None:
    module, first, second = JointSaliency(1.3, reference_implementation), texture(spatial, 1), texture(spatial, 2)
    assert torch.equal(torch.jit.script(module)(first, second), module(first, second))
    assert not module.state_dict()


@pytest.mark.parametrize("sigma", [0, -1.0, math.nan])
def test_another_sigma_is_refused(sigma) -> None:
    with pytest.raises(InputError, match="sigma is a positive number of voxels, got"):
        JointSaliency(sigma)
