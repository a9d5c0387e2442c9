"""The patch pyramid with networks whose answer is known; what a trained one finds is measured elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import (
    compose,
    compose_affine,
    folding_share,
    identity_grid,
    nonrigid_part,
    sample,
)
from custom_components.inferers import Estimate, PairImages, PatchPyramid
from custom_components.inferers import patch_pyramid as module
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.patches import plan_patches

TURNS = [(37.0, False), (150.0, True)]


def ramps(height: int, width: int) -> PairImages:
    """Fixed and moving are one image, whose grey value says the column."""
    image = torch.linspace(0.1, 0.9, width).expand(1, 1, height, width).clone()
    return PairImages(image, image, torch.ones_like(image), torch.ones_like(image))


def estimate_of(residual: Tensor, degrees: float = 0.0, mirrored: bool = False) -> Estimate:
    """A field that is an affine and, before it, ``residual``."""
    shape = (residual.shape[2], residual.shape[3])
    matrix = rotation_about_centre(shape, degrees, mirrored) if degrees else np.eye(3)
    return replace(Estimate.identity(shape), ddf=compose_affine(matrix, residual), affine=matrix)


class Fake(nn.Module):
    """A network without weights; counts the levels that it is asked for and keeps the patches that it sees."""

    def __init__(self, answer: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.answer = answer
        self.levels: list[int] = []
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor, level: int) -> Tensor:
        self.levels.append(level)
        self.seen.append(image)
        return self.answer(image, level)


def zero(image: Tensor, level: int) -> Tensor:
    return torch.zeros_like(image)


def shift(*voxels: float) -> Callable[[Tensor, int], Tensor]:
    return lambda image, level: torch.tensor(voxels).view(1, 2, 1, 1).expand_as(image).clone()


def of_the_values(image: Tensor, level: int) -> Tensor:
    """A step of up to some voxels that depends on the patches alone."""
    return 4 * F.avg_pool2d(image.flip(1) - 0.5, 9, stride=1, padding=4)


def pyramid(network: nn.Module, **settings: object) -> PatchPyramid:
    """One level of small patches; no smoothing afterwards."""
    return PatchPyramid(
        network, **{"scales": (1.0,), "iterations": 1, "patch_size": 32, "minimum_jacobian": None, **settings}
    )


# the whole pyramid with a network that says nothing


@pytest.mark.parametrize("scales", [(1.0,), (0.25, 0.5, 1.0)])
def test_a_network_that_finds_nothing_returns_no_displacement(scales, textured) -> None:
    images = textured()
    found = pyramid(Fake(zero), scales=scales, iterations=2)(images, Estimate.identity(images.shape))
    assert torch.equal(found.ddf, torch.zeros(1, 2, *images.shape))


def test_a_network_that_finds_nothing_gives_back_the_start_but_for_rounding(smooth_field, textured) -> None:
    images, start = textured(), estimate_of(smooth_field(90, 76, largest=9, sigma=6))
    before = start.ddf.clone()
    network = Fake(zero)
    found = pyramid(network, iterations=3)(images, start)
    assert network.seen
    torch.testing.assert_close(found.ddf, before, atol=3e-5, rtol=0)
    assert torch.equal(start.ddf, before)


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_a_turned_start_comes_back_too(degrees, mirrored, smooth_field, textured) -> None:
    images, start = textured(), estimate_of(smooth_field(90, 76, largest=4), degrees, mirrored)
    found = pyramid(Fake(zero), minimum_jacobian=0.1)(images, start)
    torch.testing.assert_close(found.ddf, start.ddf, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(found.affine, start.affine)
    # a mirrored section's affine turns all tissue over, but nothing is folded
    assert found.stages[-1].details["folding"] == 0


# steps that are known


def test_a_constant_shift_is_composed_at_each_iteration(smooth_field, textured) -> None:
    images, start = textured(), estimate_of(smooth_field(90, 76, largest=5, sigma=8))
    found = pyramid(Fake(shift(1.5, -2.0)), iterations=3)(images, start).ddf
    wanted = start.ddf
    for _ in range(3):
        wanted = compose(wanted, torch.tensor([1.5, -2.0]).view(1, 2, 1, 1).expand(1, 2, 90, 76))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_shifts_of_coarse_levels_count_in_their_own_voxels(textured) -> None:
    images = textured(96, 80)
    found = pyramid(Fake(shift(1.0, -0.5)), scales=(0.25, 0.5, 1.0), iterations=(1, 2, 1))(
        images, Estimate.identity(images.shape)
    )
    rows, columns = found.ddf[0]  # 4 + 2 * 2 + 1 voxels
    torch.testing.assert_close(rows, torch.full_like(rows, 9.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(columns, torch.full_like(columns, -4.5), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_steps_come_before_the_affine(degrees, mirrored, smooth_field, textured) -> None:
    """A step is seen on the fixed grid, so the affine turns it."""
    images, residual = textured(), smooth_field(90, 76, largest=3)
    start = estimate_of(residual, degrees, mirrored)
    found = pyramid(Fake(shift(2.0, 1.0)))(images, start).ddf
    step = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 90, 76)
    torch.testing.assert_close(found, compose_affine(start.affine, compose(residual, step)), atol=2e-4, rtol=0)


def test_every_level_is_looked_at_as_often_as_asked_and_by_its_own_network(textured) -> None:
    images, network = textured(), Fake(zero)
    found = pyramid(network, scales=(0.25, 0.5, 1.0), iterations=(3, 0, 2), batch_size=1000)(
        images, Estimate.identity(images.shape)
    )
    assert network.levels == [0, 0, 0, 2, 2]
    assert dict(found.stages[-1].details) == {"levels": 3, "iterations": 5}


def test_each_level_has_its_own_patches(textured) -> None:
    images, network = textured(128, 128), Fake(zero)
    settings = {"scales": (0.5, 1.0), "patch_size": (16, 64), "stride": (16, 32), "batch_size": 1000}
    pyramid(network, **settings)(images, Estimate.identity(images.shape))
    assert [tuple(seen.shape) for seen in network.seen] == [(16, 2, 16, 16), (9, 2, 64, 64)]


# a network that knows the truth


class Knowing(nn.Module):
    """Reads the place from the fixed patch's grey values and answers with the step that is still missing.

    The fixed image's value is an injective code of the voxel, the moving one's likewise, so what is missing is the
    truth at the place less what the field so far does there.
    """

    def __init__(self, truth: Tensor) -> None:
        super().__init__()
        self.truth = truth

    def forward(self, image: Tensor, level: int) -> Tensor:
        width = self.truth.shape[-1]
        columns = (image[:, 1] - 0.1) / 0.8 * (width - 1)
        reached = (image[:, 0] - 0.1) / 0.8 * (width - 1)
        places = torch.stack([torch.full_like(columns, self.truth.shape[-2] / 2), columns], dim=1)
        number, _, height, side = places.shape
        tall = places.transpose(0, 1).reshape(1, 2, number * height, side)
        wanted = sample(self.truth, tall).reshape(2, number, height, side).transpose(0, 1)
        missing = columns + wanted[:, 1] - reached
        # no further than the patch sees, as a real network
        return torch.stack([torch.zeros_like(missing), missing.clamp(-2, 2)], dim=1)


@pytest.mark.parametrize("start", [0.0, 3.0])
def test_a_network_that_knows_the_truth_recovers_it_over_iterations_and_levels(start) -> None:
    """The truth is along the columns, up to 12 voxels, and each step at most 2 voxels of its level."""
    images = ramps(70, 160)
    along = 12 * torch.sin(torch.arange(160.0) / 159 * torch.pi)
    truth = torch.stack([torch.zeros(70, 160), along.expand(70, 160)])[None]
    residual = torch.zeros(1, 2, 70, 160)
    residual[:, 1] = start
    network = Knowing(truth)
    found = [pyramid(network, iterations=number)(images, estimate_of(residual)).ddf for number in (1, 2, 12)]
    errors = [float((ddf - truth)[..., 20:-20].abs().mean()) for ddf in found]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_a_step_of_the_affines_remainder_recovers_the_truth_of_turned_images(degrees, mirrored, smooth_field) -> None:
    """The network is told the start and the whole truth and gives the difference at each patch's place."""
    known, places = smooth_field(90, 76, largest=5, sigma=10), identity_grid((90, 76))
    fixed = (places[0] * 76 + places[1])[None, None] / (90 * 76)  # each voxel its own value
    images = PairImages(torch.rand(1, 1, 90, 76), fixed, torch.ones_like(fixed), torch.ones_like(fixed))

    def answer(image: Tensor, level: int) -> Tensor:
        index = (image[:, 1] * 90 * 76).round().long()
        return known[0].flatten(1)[:, index].transpose(0, 1)

    start = estimate_of(torch.zeros(1, 2, 90, 76), degrees, mirrored)
    found = pyramid(Fake(answer))(images, start)
    torch.testing.assert_close(nonrigid_part(start.affine, found.ddf), known, atol=1e-4, rtol=0)


# patches without contrast


@pytest.fixture
def half_empty(textured) -> PairImages:
    """Only the left part of the fixed image shows anything; no patch of the right part touches it."""
    images = textured(64, 160)
    fixed = images.fixed.clone()
    fixed[..., 64:] = 0.5
    return replace(images, fixed=fixed)


def test_patches_without_contrast_keep_the_field_and_never_reach_the_network(smooth_field, half_empty) -> None:
    images, network = half_empty, Fake(shift(1.0, 1.0))
    start = estimate_of(smooth_field(64, 160, largest=3, sigma=8))
    found = pyramid(network, iterations=2)(images, start).ddf
    assert torch.equal(found[..., 72:], start.ddf[..., 72:])
    assert (found - start.ddf)[..., :56].abs().amin() > 0.1
    for seen in network.seen:
        assert (seen.flatten(2).amax(2) - seen.flatten(2).amin(2)).min() > module.FLAT


def test_patches_without_contrast_do_not_poison_their_group(half_empty) -> None:
    """A network that fails on constant patches gives the others the field they get alone."""

    def fragile(image: Tensor, level: int) -> Tensor:
        spread = (image.flatten(2).amax(2) - image.flatten(2).amin(2)).prod(1).view(-1, 1, 1, 1)
        return of_the_values(image, level) / spread * spread

    images = half_empty
    found = [
        pyramid(Fake(fragile), iterations=2, batch_size=size)(images, Estimate.identity(images.shape)).ddf
        for size in (1, 1000)
    ]
    assert found[0].isfinite().all()
    assert found[0].abs().max() > 0.3
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("part", ["moving", "fixed"])
def test_a_constant_image_leaves_the_start_and_the_network_alone(part, smooth_field, textured) -> None:
    images, network = textured(64, 64), Fake(shift(1.0, 1.0))
    images = replace(images, **{part: torch.full((1, 1, 64, 64), 0.0)})
    start = estimate_of(smooth_field(64, 64, largest=3))
    assert torch.equal(pyramid(network, iterations=2)(images, start).ddf, start.ddf)
    assert network.seen == []


# devices and groups


def test_two_devices_give_the_field_of_one(textured) -> None:
    images = textured(120, 140)
    fields = [
        PatchPyramid(Fake(of_the_values), patch_size=32, iterations=2, batch_size=3, devices=devices)(
            images, Estimate.identity(images.shape)
        ).ddf
        for devices in (None, ["cpu"], ["cpu", "cpu"], ["cpu", "cpu", "cpu"])
    ]
    assert fields[0].abs().max() > 0.5
    assert all(torch.equal(field, fields[0]) for field in fields[1:])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_several_devices_work_where_gradients_are_switched_off(mode, textured) -> None:
    images = textured()
    with mode():
        found = pyramid(Fake(shift(1.0, 2.0)), devices=["cpu", "cpu"])(images, Estimate.identity(images.shape)).ddf
        torch.testing.assert_close(found.mean(dim=(0, 2, 3)), torch.tensor([1.0, 2.0]))


def test_what_fails_on_one_of_several_devices_is_raised(textured) -> None:
    def broken(image: Tensor, level: int) -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        pyramid(Fake(broken), devices=["cpu", "cpu"])(textured(), Estimate.identity((90, 76)))


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_size_of_groups_changes_no_result(batch_size, textured) -> None:
    images = textured()
    fields = [
        pyramid(Fake(of_the_values), iterations=2, batch_size=size)(images, Estimate.identity(images.shape)).ddf
        for size in (batch_size, 1000)
    ]
    torch.testing.assert_close(fields[0], fields[1], atol=1e-5, rtol=0)


def test_no_more_patches_than_a_group_reach_the_network_together(textured) -> None:
    images, network = textured(120, 140), Fake(zero)
    pyramid(network, batch_size=5)(images, Estimate.identity(images.shape))
    assert max(len(seen) for seen in network.seen) == 5
    assert sum(len(seen) for seen in network.seen) == len(plan_patches((120, 140), 32, 16))


def test_the_network_is_left_in_evaluation_mode_and_no_graph_is_kept(textured) -> None:
    class Learning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, image: Tensor, level: int) -> Tensor:
            assert not self.training
            return self.gain * of_the_values(image, level)

    network = Learning().train()
    assert not pyramid(network)(textured(), Estimate.identity((90, 76))).ddf.requires_grad


# what comes out


@pytest.mark.parametrize("shape", [(20, 25), (33, 7), (1, 90)])
def test_images_smaller_than_a_patch_work(shape, textured) -> None:
    images = textured(*shape)
    found = PatchPyramid(Fake(shift(0.5, 0.25)), iterations=1, patch_size=32)(images, Estimate.identity(shape))
    assert found.ddf.shape == (1, 2, *shape)
    assert found.ddf.isfinite().all()


def test_folds_are_repaired_and_counted_but_only_if_asked(textured) -> None:
    images = textured()
    torn, repaired = (
        pyramid(Fake(lambda image, level: 40 * (image - 0.5)), minimum_jacobian=least)(
            images, Estimate.identity(images.shape)
        )
        for least in (None, 0.1)
    )
    assert folding_share(torn.ddf) > 0.1
    assert folding_share(repaired.ddf) == 0
    details = repaired.stages[-1].details
    assert details["folding_before_repair"] == pytest.approx(folding_share(torn.ddf))
    assert details["folding"] == 0
    assert "folding" not in torn.stages[-1].details


def test_the_stage_is_added_under_its_name_and_the_rest_is_kept(textured) -> None:
    start = Estimate.identity((90, 76))
    found = pyramid(Fake(zero), name="patches")(textured(), start)
    assert [stage.name for stage in found.stages] == ["patches"]
    assert found.matches is start.matches
    assert found.ddf.dtype == torch.float32


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": (1, 2)}, {"patch_size": (32,)}, {"stride": (8, 8, 8, 8)}, {"patch_size": (32, 32), "stride": None}],
)
def test_lists_that_do_not_fit_the_levels_are_refused_with_what_they_are(wrong) -> None:
    with pytest.raises(InputError, match="each of the 3 scales"):
        PatchPyramid(nn.Identity(), **wrong)


def test_a_stride_larger_than_the_patch_is_refused(textured) -> None:
    with pytest.raises(InputError, match="between 1 and their size"):
        pyramid(Fake(zero), stride=33)(textured(), Estimate.identity((90, 76)))


@pytest.mark.parametrize(("finest_size", "sides"), [(None, [24, 48]), (24, [12, 24]), (100, [24, 48])])
def test_the_finest_level_is_no_larger_than_asked_for(finest_size, sides, textured) -> None:
    network = Fake(zero)
    settings = {"scales": (0.5, 1.0), "finest_size": finest_size, "patch_size": 64}
    found = pyramid(network, **settings)(textured(48, 48), Estimate.identity((48, 48)))
    assert [int((patches[0, 0].abs().sum(1) > 0).sum()) for patches in network.seen] == sides
    assert found.ddf.shape == (1, 2, 48, 48)
