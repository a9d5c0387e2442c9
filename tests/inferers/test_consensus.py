"""The consensus recovers known warps, whatever the contrast, and does no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from custom_components.common.errors import InputError, RegistrationError
from custom_components.fields import affine_to_ddf, compose_affine, folding_share, nonrigid_part
from custom_components.inferers import Chain, Estimate, PairImages
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.inferers.consensus import Consensus
from custom_components.inferers.error_model import ErrorModel, LogLinear
from custom_components.inferers.result import Step

MODEL = ErrorModel(
    LogLinear(-3.0, {"disagreement": 0.5}, {"spread": 0.1}), LogLinear(-2.0, {"disagreement": 0.5}, {"spread": 0.1})
)


def start(images: PairImages) -> Estimate:
    return Estimate.identity(images.shape)


def proposing(field: Tensor) -> Step:
    """A candidate whose answer is known."""

    def step(images: PairImages, estimate: Estimate) -> Estimate:
        return replace(estimate, ddf=field)

    return step


def refusing(images: PairImages, estimate: Estimate) -> Estimate:
    raise RegistrationError("nothing in common")


def details(estimate: Estimate) -> dict[str, float]:
    assert estimate.stages[-1].name == "consensus"
    return dict(estimate.stages[-1].details)


def inverted_in_part(images: PairImages) -> PairImages:
    """The moving tissue with the contrast of its left half turned round."""
    half = torch.zeros_like(images.moving)
    half[..., : images.shape[1] // 2] = 1
    return replace(images, moving=images.moving_mask * (half * (1 - images.moving) + (1 - half) * images.moving))


def test_aligned_images_stay_where_they_are(make_pair) -> None:
    images = make_pair().images
    found = Consensus()(images, start(images))
    assert found.ddf.abs().max() < 0.1
    assert details(found)["affine_kept"] == 0
    assert details(found)["folding"] == 0


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_known_warp_is_recovered_without_candidates(gamma, make_pair, error) -> None:
    known = make_pair(amplitude=6, gamma=gamma)
    found = Consensus()(known.images, start(known.images))
    assert error(torch.zeros_like(known.truth), known).mean() > 2
    assert error(found.ddf, known).mean() < 0.6
    assert folding_share(found.ddf) == 0
    assert details(found)["similarity"] > details(found)["similarity_before"]


def test_a_warp_is_recovered_where_half_of_the_section_has_inverted_contrast(make_pair, error) -> None:
    known = make_pair(amplitude=6)
    changed = replace(known, images=inverted_in_part(known.images))
    before = error(torch.zeros_like(known.truth), known).mean()
    with_renderings = error(Consensus()(changed.images, start(changed.images)).ddf, changed).mean()
    greys = Consensus(renderings=["luminance"])
    grey_alone = error(greys(changed.images, start(changed.images)).ddf, changed).mean()
    assert with_renderings < 0.35 * before
    assert with_renderings < grey_alone


def test_a_candidate_that_knows_the_warp_is_followed(make_pair, error) -> None:
    """The shift is too large for the flow to find it by itself."""
    known = make_pair(amplitude=20)
    alone = Consensus()(known.images, start(known.images))
    helped = Consensus([proposing(known.truth)])(known.images, start(known.images))
    assert details(alone)["fields"] == 0
    assert details(helped)["fields"] == 1
    assert details(helped)["proposals"] == 2 * 2 + 1  # of each rendering: from nothing and from the candidate
    assert error(helped.ddf, known).mean() < 1
    assert error(helped.ddf, known).mean() <= error(alone.ddf, known).mean()


def test_the_field_of_the_estimate_is_a_proposal(make_pair, error) -> None:
    known = make_pair(amplitude=20)
    found = Consensus()(known.images, replace(start(known.images), ddf=known.truth))
    assert details(found)["fields"] == 1
    assert error(found.ddf, known).mean() < 1


def test_the_affine_part_stays_what_it_was(make_pair, error) -> None:
    known = make_pair(degrees=40, mirrored=True, amplitude=5)
    matrix = rotation_about_centre(known.images.shape, 40, mirrored=True)
    base = affine_to_ddf(matrix, known.images.shape)
    found = Consensus()(known.images, replace(start(known.images), affine=matrix, ddf=base))
    assert np.array_equal(found.affine, matrix)
    assert error(found.ddf, known).mean() < 0.8
    assert folding_share(nonrigid_part(found.affine, found.ddf), known.images.fixed_mask) == 0


def test_candidates_start_from_the_affine_alone_and_from_what_is_known(make_pair) -> None:
    known = make_pair(degrees=20, amplitude=5)
    matrix = rotation_about_centre(known.images.shape, 20)
    seen: list[Tensor] = []

    def noting(images: PairImages, estimate: Estimate) -> Estimate:
        seen.append(estimate.ddf)
        return estimate

    Consensus([noting])(known.images, replace(start(known.images), affine=matrix, ddf=known.truth))
    assert torch.allclose(seen[0], affine_to_ddf(matrix, known.images.shape).float(), atol=1e-4)
    assert torch.equal(seen[1], known.truth)
    assert len(seen) == 2


def test_a_candidate_that_refuses_the_pair_has_no_vote_and_is_counted(make_pair) -> None:
    images = make_pair(amplitude=6).images
    plain = Consensus()(images, start(images))
    found = Consensus([refusing, refusing])(images, start(images))
    assert details(found)["fields"] == 0
    assert details(found)["candidates_refused"] == 2
    assert torch.equal(found.ddf, plain.ddf)


def test_another_error_of_a_candidate_is_not_hidden(make_pair) -> None:
    def wrong(images: PairImages, estimate: Estimate) -> Estimate:
        raise InputError("weights are missing")

    images = make_pair().images
    with pytest.raises(InputError, match="weights are missing"):
        Consensus([wrong])(images, start(images))


class Bad:
    """An interpolation that gives a wrong field, whatever the votes."""

    def __init__(self, field: Tensor) -> None:
        self.field = field

    def __call__(self, points: Tensor, *rest: object) -> Tensor:
        return self.field


def test_the_affine_is_kept_where_the_field_is_worse(make_pair, smooth_field) -> None:
    """The right half of an aligned pair is forced away from where it belongs."""
    images = make_pair().images
    bad = torch.zeros(1, 2, *images.shape)
    ramp = ((torch.arange(images.shape[1]) - 160) / 40).clamp(0, 1)
    bad[:, 0] = 8 * ramp
    kept = Consensus(interpolation=Bad(bad), renderings=["luminance"])(images, start(images))
    forced = Consensus(interpolation=Bad(bad), renderings=["luminance"], margin=None)(images, start(images))
    right, left = (..., slice(60, -60), slice(215, 250)), (..., slice(60, -60), slice(70, 110))
    assert forced.ddf[right].norm(dim=1).mean() > 7
    assert kept.ddf[right].norm(dim=1).mean() < 0.35 * forced.ddf[right].norm(dim=1).mean()
    assert kept.ddf[left].norm(dim=1).max() < 0.1
    assert 0.1 < details(kept)["affine_kept"] < 0.9
    assert details(forced)["affine_kept"] == 0
    assert folding_share(kept.ddf, images.fixed_mask) == 0


def test_a_wrong_candidate_alone_does_no_harm(make_pair, error, smooth_field) -> None:
    known = make_pair(amplitude=4)
    wrong = smooth_field(*known.images.shape, largest=15.0, sigma=30.0, seed=5)
    found = Consensus([proposing(wrong)])(known.images, start(known.images))
    assert error(found.ddf, known).mean() < 0.7


@pytest.mark.parametrize("shape", [(65, 97), (64, 64), (131, 77)])
@pytest.mark.parametrize("kind", ["noise", "constant", "black", "no tissue"])
def test_whatever_the_images_the_field_is_finite(shape, kind, textured) -> None:
    images = textured(*shape)
    if kind != "noise":
        grey = torch.full_like(images.fixed, {"constant": 0.5, "black": 0.0, "no tissue": 0.5}[kind])
        mask = torch.full_like(grey, float(kind == "constant"))
        images = PairImages(grey, grey, mask, mask)
    found = Consensus(error_model=MODEL)(images, start(images))
    assert found.ddf.shape == (1, 2, *shape)
    assert torch.isfinite(found.ddf).all()
    assert torch.isfinite(found.error).all()
    assert folding_share(found.ddf) == 0
    assert all(np.isfinite(value) for value in details(found).values())


def test_the_error_is_larger_where_the_field_is_wrong_and_reaches_the_registration(make_pair) -> None:
    images = make_pair(amplitude=6).images
    blank = images.moving.clone()
    blank[..., :160, :] = torch.rand(1, 1, 160, images.shape[1])  # nothing to go by
    spoilt = replace(images, moving=blank * images.moving_mask)
    found = Chain([Consensus(error_model=MODEL)])(spoilt).error
    expected, bound = found[0]
    tissue = images.fixed_mask[0, 0] > 0.5
    assert (found > 0).all()
    assert (bound >= expected).all()
    assert expected[:140][tissue[:140]].median() > 2 * expected[180:][tissue[180:]].median()


def test_an_error_model_may_be_a_file(tmp_path, make_pair) -> None:
    constant = '{"intercept": -6.0, "place": {}, "pair": {}}'
    file = tmp_path / "model.json"
    file.write_text(f'{{"expected": {constant}, "bound": {constant}}}')
    images = make_pair().images
    found = Consensus(error_model=str(file))(images, start(images)).error
    assert torch.allclose(found, torch.full_like(found, np.exp(-6) * images.diagonal))
    assert Consensus()(images, start(images)).error is None
    with pytest.raises(InputError, match=r"gone\.json"):
        Consensus(error_model=tmp_path / "gone.json")


def test_an_unknown_rendering_is_refused(make_pair) -> None:
    images = make_pair().images
    with pytest.raises(InputError, match="unknown rendering 'edges'"):
        Consensus(renderings=["edges"])(images, start(images))


def test_twice_the_same_is_the_same(make_pair) -> None:
    images = make_pair(amplitude=6).images
    first, second = (Consensus(error_model=MODEL)(images, start(images)) for _ in range(2))
    assert torch.equal(first.ddf, second.ddf)
    assert torch.equal(first.error, second.error)


def test_the_field_is_the_affine_after_what_is_left(make_pair) -> None:
    known = make_pair(degrees=20, amplitude=5)
    matrix = rotation_about_centre(known.images.shape, 20)
    found = Consensus()(
        known.images, replace(start(known.images), affine=matrix, ddf=affine_to_ddf(matrix, known.images.shape))
    )
    again = compose_affine(matrix, nonrigid_part(matrix, found.ddf))
    assert torch.allclose(again, found.ddf, atol=1e-3)
