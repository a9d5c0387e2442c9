from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.fields import compose
from custom_components.inferers import (
    AffineAlignment,
    Chain,
    Estimate,
    FlowRefinement,
    HybridMatching,
    PairImages,
)
from custom_components.inferers.evidence import scored
from custom_components.matching import XFeatMatcher


def test_no_steps_give_no_displacement(make_pair) -> None:
    images = make_pair().images
    registration = Chain([])(images)
    assert not registration.ddf.any()
    assert registration.inverse.abs().max() < 1e-6
    assert registration.stages[-1].name == "inverse"


def test_an_image_registered_to_itself_stays_where_it_is(make_pair) -> None:
    """Whatever the steps make of it; of any other pair, and of one that shows nothing, their field is kept."""
    images = make_pair().images
    images = replace(images, moving=images.fixed.clone(), moving_mask=images.fixed_mask)

    def shifting(given: PairImages, estimate: Estimate) -> Estimate:
        return replace(estimate, ddf=torch.full_like(estimate.ddf, 3.0))

    itself = Chain([shifting])(images)
    assert not itself.ddf.any()
    assert itself.inverse.abs().max() < 1e-6
    assert itself.stages[0].details == {"largest_dropped_voxels": 3.0}
    changed = replace(images, moving=(images.moving + 0.02).clamp(max=1))
    blank = replace(images, moving=torch.zeros_like(images.moving), fixed=torch.zeros_like(images.fixed))
    for other in (changed, blank):
        assert (Chain([shifting])(other).ddf == 3).all()


def test_the_inverse_undoes_the_field(make_pair) -> None:
    known = make_pair(degrees=15, amplitude=5)

    def known_step(images: PairImages, estimate: Estimate) -> Estimate:
        return Estimate(known.truth, estimate.affine, estimate.matches, estimate.dropped, estimate.stages)

    registration = Chain([known_step])(known.images)
    around = compose(registration.ddf, registration.inverse)[..., 60:-60, 60:-60]
    assert around.abs().max() < 0.02


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_whole_method_on_a_turned_and_bent_pair(mirrored: bool, make_pair, error) -> None:
    known = make_pair(degrees=130, mirrored=mirrored, amplitude=5)
    chain = Chain(
        [
            AffineAlignment(XFeatMatcher(), mirrored=mirrored),
            HybridMatching([XFeatMatcher(scales=(1.0, 0.7, 0.5), max_displacement=0.035)]),
            FlowRefinement(),
        ]
    )
    registration = chain(known.images)
    assert error(registration.ddf, known).median() < 0.5
    assert error(registration.ddf, known).mean() < 1
    assert registration.stages[2].details["folding"] == 0
    names = [stage.name for stage in registration.stages]
    assert names == ["affine alignment", "hybrid matching", "flow refinement", "inverse"]
    assert all(stage.seconds > 0 for stage in registration.stages)
    again = chain(known.images)
    assert torch.equal(again.matches.fixed, registration.matches.fixed)


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="one shape"):
        PairImages(*(torch.zeros(1, 1, 8, n) for n in (8, 9, 8, 8)))


def test_diagonal_is_that_of_the_tissue() -> None:
    mask = torch.zeros(1, 1, 50, 60)
    mask[..., 10:40, 5:45] = 1
    assert PairImages(mask, mask, mask, mask).diagonal == pytest.approx(50)
    empty = torch.zeros_like(mask)
    assert PairImages(mask, mask, empty, empty).diagonal == pytest.approx((50**2 + 60**2) ** 0.5)


def _estimates(images: PairImages, estimate: Estimate) -> Estimate:
    """A step that moves nothing and expects errors of 1 and at most 3 voxels."""
    error = torch.tensor([1.0, 3.0]).reshape(1, 2, *(1,) * len(images.shape)).expand(1, 2, *images.shape)
    return replace(estimate, error=error)


@pytest.mark.parametrize("shape", [(24, 30), (10, 12, 14)])
def test_an_error_estimate_reaches_the_registration(shape: tuple[int, ...]) -> None:
    images = PairImages(*(torch.ones(1, 1, *shape),) * 4)
    found = Chain([_estimates])(images)
    assert found.error is not None
    assert found.error.shape == (1, 2, *shape)
    assert found.cpu().error.amax().item() == 3
    assert Chain([])(images).error is None
    assert Chain([])(images).cpu().error is None
    grey = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    same = replace(images, moving=grey, fixed=grey)
    assert scored(Chain([_estimates]))(same).error.amax().item() == 3


def test_an_error_estimate_of_an_earlier_field_is_not_handed_on() -> None:
    images = PairImages(*(torch.ones(1, 1, 24, 30),) * 4)

    def moves(images: PairImages, estimate: Estimate) -> Estimate:
        return replace(estimate, ddf=estimate.ddf + 1)

    assert Chain([_estimates, moves])(images).error is None
    assert Chain([moves, _estimates])(images).error is not None
    assert Chain([_estimates, moves, _estimates])(images).error is not None
    assert Chain([_estimates, lambda images, estimate: replace(estimate)])(images).error is not None


def test_an_error_estimate_of_another_grid_is_refused() -> None:
    start = Estimate.identity((24, 30))
    with pytest.raises(InputError, match=r"is \(1, 2, 24, 30\), got \(1, 2, 24, 31\)"):
        replace(start, error=torch.ones(1, 2, 24, 31))
