"""Sections in several pieces: one that moved by itself is found, one that is missing is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from custom_components.inferers import PairImages
from custom_components.inferers.evidence import piece_figures, scored
from custom_components.inferers.result import Registration
from custom_components.matching import PointPairs

SHAPE = (120, 261)
PLACES = {"left": (30, 20), "right": (30, 150)}


def piece(seed: int) -> np.ndarray:
    texture = gaussian_filter(np.random.default_rng(seed).random((61, 81)), 2)
    return 0.3 + 0.7 * (texture - texture.min()) / np.ptp(texture)


def section(**pieces: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 1, H, W) image and mask with a texture, by its seed, at each place."""
    image = np.zeros(SHAPE)
    for place, seed in pieces.items():
        row, column = PLACES[place]
        image[row : row + 61, column : column + 81] = piece(seed)
    grey = torch.from_numpy(image).float()[None, None]
    return grey, (grey > 0).float()


def figures(moving: dict[str, int], fixed: dict[str, int]) -> dict[str, float]:
    (image, mask), (other, other_mask) = section(**moving), section(**fixed)
    still = torch.zeros(1, 2, *SHAPE)
    nothing = PointPairs.empty()
    return piece_figures(PairImages(image, other, mask, other_mask), Registration(still, still, nothing, nothing, ()))


BOTH = {"left": 0, "right": 1}


def test_pieces_that_agree() -> None:
    found = figures(BOTH, BOTH)
    assert found["pieces"] == 2
    assert found["lone_pieces"] == found["lone_moving_pieces"] == 0
    assert found["least_piece_similarity"] > 0.8


def test_a_piece_on_other_tissue_is_seen_whatever_the_other_says() -> None:
    assert figures({"left": 0, "right": 2}, BOTH)["least_piece_similarity"] < 0.05


@pytest.mark.parametrize(("moving", "fixed", "lone"), [
    ({"left": 0}, BOTH, (1, 0)), (BOTH, {"left": 0, "right": 1}, (0, 0)), ({"right": 1}, BOTH, (1, 0)),
])  # fmt: skip
def test_a_missing_piece_is_lone_on_one_side(moving, fixed, lone) -> None:
    found = figures(moving, fixed)
    assert (found["lone_pieces"], found["lone_moving_pieces"]) == lone
    assert found["least_piece_similarity"] > 0.8


def test_a_section_of_one_piece_has_no_such_figures() -> None:
    assert figures({"left": 0}, {"left": 0}) == {}
    image, mask = section(left=0)
    still, nothing = torch.zeros(1, 2, *SHAPE), PointPairs.empty()
    given = Registration(still, still, nothing, nothing, ())
    result = scored(lambda images: given)(PairImages(image, image, mask, mask))
    assert set(result.stages[-1].details) == {"similarity", "support", "unmatched_share"}
