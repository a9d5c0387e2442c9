"""Folding on tissue, of sections turned over as a whole and of pieces that changed places."""

from __future__ import annotations

import pytest
import torch

from custom_components.fields import identity_grid
from custom_components.outputs.folding import folding_figures, relative_area

SHAPE = (40, 100)


def pieces() -> torch.Tensor:
    mask = torch.zeros(1, 1, *SHAPE)
    mask[..., 5:35, 5:40] = mask[..., 5:35, 60:95] = 1
    return mask


def swap() -> torch.Tensor:
    """Columns 0..49 go to 55 further on, the others 55 back."""
    ddf = torch.zeros(1, 2, *SHAPE)
    ddf[:, 1, :, :50], ddf[:, 1, :, 50:] = 55.0, -55.0
    return ddf


def test_pieces_that_changed_places_are_not_folded() -> None:
    assert folding_figures(swap(), pieces())[0] == 0


def test_a_folded_part_of_one_of_them_is() -> None:
    ddf = swap()
    grid = identity_grid(SHAPE)
    ddf[0, 1, 10:20, 10:20] += -2 * (grid[1, 10:20, 10:20] - 14.5)  # turns columns over
    share, _ = folding_figures(ddf, pieces())
    assert share == pytest.approx(100 / pieces().sum().item(), rel=0.3)


def test_a_section_turned_over_is_not_folded_and_no_tissue_gives_zeros() -> None:
    ddf = torch.zeros(1, 2, *SHAPE)
    ddf[0, 1] = 99 - 2 * identity_grid(SHAPE)[1]
    assert folding_figures(ddf, pieces()) == pytest.approx((0, 0), abs=1e-6)
    assert folding_figures(ddf, torch.zeros(1, 1, *SHAPE)) == (0.0, 0.0)


@pytest.mark.parametrize("scale", [1.0, -1.0, 2.0, 0.5])
def test_area_is_told_beside_the_global_scale_and_turn(scale: float) -> None:
    grid = identity_grid(SHAPE)
    ddf = torch.stack([torch.zeros(SHAPE), (scale - 1) * grid[1]])[None]
    assert relative_area(ddf) == pytest.approx(torch.ones(SHAPE).numpy(), abs=1e-4)


def test_only_the_glass_between_pieces_that_changed_places_is_drawn_as_folded() -> None:
    area = relative_area(swap())
    tissue = pieces()[0, 0] > 0.5
    assert area[tissue].numpy() == pytest.approx(1.0)
    assert (area <= 0).any()
