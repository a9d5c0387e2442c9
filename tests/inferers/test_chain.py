from __future__ import annotations

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
from custom_components.matching import XFeatMatcher


def test_no_steps_give_no_displacement(make_pair) -> None:
    images = make_pair().images
    registration = Chain([])(images)
    assert not registration.ddf.any()
    assert registration.inverse.abs().max() < 1e-6
    assert [stage.name for stage in registration.stages] == ["inverse"]


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
