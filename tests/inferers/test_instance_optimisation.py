from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.fields import affine_to_ddf, folding_share
from custom_components.inferers import Estimate, PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.instance_optimisation import (
    SMALLEST_SIDE,
    ControlGrid,
    InstanceOptimisation,
    pyramid,
)


def step(**settings: object) -> InstanceOptimisation:
    """Three levels of which the finest is left out, few iterations."""
    return InstanceOptimisation(**{"levels": 3, "iterations": (30, 30, 0), **settings})


def cropped(images: PairImages, rows: int, columns: int) -> PairImages:
    parts = (images.moving, images.fixed, images.moving_mask, images.fixed_mask)
    return PairImages(*(part[..., :rows, :columns] for part in parts))


class Broken(nn.Module):
    def forward(self, warped: Tensor, fixed: Tensor, mask: Tensor) -> Tensor:
        return warped.sum() * torch.nan


@pytest.mark.parametrize("diffeomorphic", [False, True])
def test_most_of_a_smooth_warp_is_found(diffeomorphic: bool, make_pair, error) -> None:
    known = make_pair(amplitude=6)
    estimate = step(diffeomorphic=diffeomorphic)(known.images, Estimate.identity(known.images.shape))
    before = error(torch.zeros_like(known.truth), known).mean()
    assert error(estimate.ddf, known).mean() < 0.4 * before
    assert folding_share(estimate.ddf) == 0
    details = estimate.stages[-1].details
    assert details["similarity"] > details["similarity_before"]
    assert details["folding"] == details["folding_before"] == 0


def test_it_works_where_gradients_are_switched_off(make_pair) -> None:
    known = make_pair(amplitude=4)
    with torch.no_grad():
        estimate = step(iterations=(5, 0, 0))(known.images, Estimate.identity(known.images.shape))
    assert estimate.ddf.abs().max() > 0.1
    assert not estimate.ddf.requires_grad


def test_aligned_images_stay_where_they_are(make_pair) -> None:
    images = make_pair().images
    estimate = step()(images, Estimate.identity(images.shape))
    assert estimate.ddf.abs().max() < 0.1


@pytest.mark.parametrize(("degrees", "mirrored"), [(140.0, False), (30.0, True)])
def test_a_turned_estimate_is_refined_after_its_affine(degrees: float, mirrored: bool, make_pair, error) -> None:
    known = make_pair(degrees, mirrored, amplitude=6)
    shape = known.images.shape
    matrix = rotation_about_centre(shape, degrees, mirrored)
    start = replace(Estimate.identity(shape), ddf=affine_to_ddf(matrix, shape), affine=matrix)
    estimate = step()(known.images, start)
    assert error(estimate.ddf, known).mean() < 0.4 * error(start.ddf, known).mean()
    assert np.array_equal(estimate.affine, matrix)


def test_a_good_start_is_kept_and_bettered(make_pair, error) -> None:
    known = make_pair(amplitude=6)
    start = replace(Estimate.identity(known.images.shape), ddf=known.truth + 0.7)
    estimate = step(iterations=(0, 30, 0))(known.images, start)
    assert error(estimate.ddf, known).mean() < 0.5 * error(start.ddf, known).mean()


def test_a_folded_start_is_smoothed_though_it_looks_alike(make_pair) -> None:
    images = make_pair().images
    rough = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 32, 32))).float()
    start = replace(Estimate.identity(images.shape), ddf=3 * F.interpolate(rough, images.shape, mode="bilinear"))
    estimate = step(spacing=2.0, iterations=(0, 40, 0))(images, start)
    assert folding_share(start.ddf, images.fixed_mask) > 0
    assert "unchanged" not in estimate.stages[-1].details
    assert folding_share(estimate.ddf, images.fixed_mask) == 0


def test_odd_sizes_work(make_pair, error) -> None:
    known = make_pair(amplitude=6)
    images = cropped(known.images, 291, 317)
    estimate = step()(images, Estimate.identity(images.shape))
    odd = replace(known, images=images, truth=known.truth[..., :291, :317])
    assert error(estimate.ddf, odd).mean() < 0.4 * error(torch.zeros_like(odd.truth), odd).mean()


def test_small_images_get_fewer_levels(make_pair) -> None:
    images = make_pair(amplitude=2).images
    small = PairImages(
        *(F.interpolate(t, (40, 52), mode="area") for t in (images.moving, images.fixed)),
        *(F.interpolate(t, (40, 52)) for t in (images.moving_mask, images.fixed_mask)),
    )
    assert [tuple(t.shape[2:]) for t in pyramid(small.fixed, 5)] == [(40, 52)]
    estimate = InstanceOptimisation(levels=5, iterations=(9, 9, 9, 9, 3))(small, Estimate.identity(small.shape))
    assert estimate.ddf.isfinite().all()


def empty(images: PairImages) -> PairImages:
    return replace(images, moving_mask=torch.zeros_like(images.moving_mask))


def constant(images: PairImages) -> PairImages:
    return replace(images, moving=torch.full_like(images.moving, 0.5))


@pytest.mark.parametrize(("spoil", "reason"), [(empty, "tissue"), (constant, "constant")])
def test_where_there_is_nothing_to_compare_the_estimate_stays(spoil, reason: str, make_pair) -> None:
    images = spoil(make_pair(amplitude=4).images)
    start = Estimate.identity(images.shape)
    estimate = step()(images, start)
    assert estimate.ddf is start.ddf
    assert reason in str(estimate.stages[-1].details["unchanged"])


def test_a_loss_that_is_not_a_number_leaves_the_estimate(make_pair) -> None:
    images = make_pair(amplitude=4).images
    start = Estimate.identity(images.shape)
    assert step(similarity=Broken(), iterations=(2, 0, 0))(images, start).ddf is start.ddf


def test_proximity_holds_the_field_at_its_start(make_pair) -> None:
    images = make_pair(amplitude=6).images
    start = Estimate.identity(images.shape)
    free, held = (step(iterations=(20, 0, 0), proximity=p)(images, start).ddf.abs().mean() for p in (0.0, 1.0))
    assert held < 0.5 * free


def test_levels_are_halves_coarsest_first() -> None:
    image = torch.rand(1, 1, 131, 150)
    shapes = [tuple(t.shape[2:]) for t in pyramid(image, 4)]
    assert shapes == [(33, 38), (66, 75), (131, 150)]
    assert min(shapes[0]) >= SMALLEST_SIDE
    assert pyramid(image, 4)[-1] is image
    assert all(torch.allclose(t, torch.ones(1), atol=1e-3) for t in pyramid(torch.ones_like(image), 4))


def test_a_control_point_moves_its_neighbourhood_alone() -> None:
    grid = ControlGrid((40, 61), 5.0, torch.zeros(1))
    with torch.no_grad():
        grid.control[0, 1, 4, 6] = 1.0  # at voxel 15, 25
        field = grid()
    assert field.shape == (1, 2, 40, 61)
    assert field[0, 0].abs().max() == 0
    assert field[0, 1].argmax() == 15 * 61 + 25
    assert field[0, 1, 15, 25] == pytest.approx(4 / 9)
    assert field[0, 1, :5].abs().max() == field[0, 1, :, 36:].abs().max() == 0


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"iterations": (1, 2)}, {"learning_rate": 0.0}, {"spacing": 0.5}])
def test_senseless_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        InstanceOptimisation(**wrong)
