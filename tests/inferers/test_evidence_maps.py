"""What speaks against a field is seen where the field is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from custom_components.fields import warp
from custom_components.inferers import PairImages
from custom_components.inferers.ballot import Ballot
from custom_components.inferers.evidence_maps import EVIDENCE, evidence_maps
from custom_components.inferers.flow_refinement import ddf_to_flow

INSIDE = np.s_[60:-60, 70:-70]


def agreed(residual: torch.Tensor, sure: float = 1.0) -> Ballot:
    """Two proposals that are the field itself."""
    flow = ddf_to_flow(residual)
    size = flow.shape[:2]
    return Ballot(
        [flow, flow], np.full((2, *size), sure, np.float32), np.full((2, *size), 0.5, np.float32),
    )  # fmt: skip


def still(images: PairImages) -> torch.Tensor:
    return torch.zeros(1, 2, *images.shape)


@pytest.fixture
def aligned(tissue) -> PairImages:
    """A section and itself."""
    grey = tissue(200)
    mask = (grey > 0.02).float()
    return PairImages(grey, grey, mask, mask)


def test_a_perfect_field_has_nothing_against_it(aligned) -> None:
    found = evidence_maps(aligned, agreed(still(aligned)), still(aligned))
    for name in ("disagreement", "spread", "unsure", "distance", "motion", "bend"):
        assert np.abs(found[name]).max() < 1e-4, name
    assert found["unlike"][INSIDE].max() < 0.3
    assert found["texture"][INSIDE].min() > 0


def test_the_names_are_those_that_an_error_model_may_use_and_lengths_are_shares(aligned) -> None:
    residual = still(aligned)
    residual[:, 0] = 3
    found = evidence_maps(aligned, agreed(residual), residual)
    assert (*found, "doubt") == EVIDENCE
    doubted = evidence_maps(aligned, agreed(residual), residual, doubt=torch.full_like(residual[:, :1], 3.0))
    assert tuple(doubted) == EVIDENCE
    np.testing.assert_allclose(doubted["doubt"], 3 / aligned.diagonal, rtol=1e-5)
    assert all(values.shape == aligned.shape and values.dtype == np.float32 for values in found.values())
    np.testing.assert_allclose(found["motion"], 3 / aligned.diagonal, rtol=1e-4)
    assert found["bend"].max() < 1e-5
    assert found["distance"][INSIDE].mean() > 1e-4
    assert found["unlike"][INSIDE].mean() > 0.2


def test_proposals_elsewhere_disagree(aligned) -> None:
    flow = ddf_to_flow(still(aligned)) + 6
    ballot = replace(agreed(still(aligned)), flows=[flow, flow])
    found = evidence_maps(aligned, ballot, still(aligned))
    for name in ("disagreement", "spread"):
        np.testing.assert_allclose(found[name], np.sqrt(72) / aligned.diagonal, rtol=1e-3)


def test_flows_that_disagree_with_themselves_are_unsure(aligned) -> None:
    found = evidence_maps(aligned, agreed(still(aligned), sure=0.25), still(aligned))
    np.testing.assert_allclose(found["unsure"], 0.75, atol=1e-4)


def test_the_rim_is_one_at_the_outline_and_none_well_inside(aligned) -> None:
    whole = torch.zeros_like(aligned.fixed)
    whole[..., 40:160, 40:160] = 1
    found = evidence_maps(replace(aligned, fixed_mask=whole, moving_mask=whole), agreed(still(aligned)), still(aligned))
    assert found["rim"][100, 100] == 0
    assert found["rim"][100, 40] > 0.8
    assert (found["rim"][:40] == 1).all()


def test_an_uneven_field_bends(aligned) -> None:
    rows = torch.arange(200).float()[:, None].expand(200, 200)
    residual = torch.stack([0.1 * rows, 0 * rows])[None]
    found = evidence_maps(aligned, agreed(residual), residual)
    np.testing.assert_allclose(found["bend"], 0.1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(65, 97), (64, 64)])
@pytest.mark.parametrize("kind", ["constant", "no tissue"])
def test_images_without_anything_give_finite_evidence(shape, kind) -> None:
    grey = torch.full((1, 1, *shape), 0.5 if kind == "constant" else 0.0)
    mask = torch.full_like(grey, float(kind == "constant"))
    images = PairImages(grey, grey, mask, mask)
    found = evidence_maps(images, agreed(still(images)), still(images))
    assert all(np.isfinite(values).all() for values in found.values())


def test_the_contrast_of_a_stain_does_not_matter_to_the_distance(aligned) -> None:
    inverted = replace(aligned, moving=1 - aligned.moving)
    moved = replace(aligned, moving=warp(aligned.moving, still(aligned) + 3))
    own, other = (evidence_maps(images, agreed(still(images)), still(images)) for images in (inverted, moved))
    assert own["distance"][INSIDE].mean() < 0.05 * other["distance"][INSIDE].mean()
