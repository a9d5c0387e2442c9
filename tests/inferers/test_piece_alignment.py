"""Pieces that moved by themselves, swapped, missing, and many: against the affines that moved them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from custom_components.common.arrays import Matrix
from custom_components.fields import affine_to_ddf, compose, folding_share, sample
from custom_components.fields.sampling import identity_grid
from custom_components.inferers import AffineAlignment, Chain, Estimate, PairImages, PieceAlignment
from custom_components.inferers.affine_alignment import rotation_about_centre
from custom_components.matching import XFeatMatcher

GAP = 60  # voxels around each piece


def texture(index: int, height: int, width: int) -> torch.Tensor:
    """(height, width) of a magnified tissue, other for each index as long as there is any."""
    source = np.kron(data.immunohistochemistry().astype(np.float32).mean(axis=2), np.ones((2, 2)))
    source = ndimage.gaussian_filter(source, 1)
    columns = source.shape[1] // width
    row, column = (index // columns) * height, (index % columns) * width
    cut = source[row : row + height, column : column + width]
    return torch.from_numpy(0.15 + 0.85 * (cut.max() - cut) / np.ptp(cut)).float()


def oval(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return (rows**2 + columns**2 < 1).float()


class Slide:
    """Ovals of tissue in a row or grid on the fixed image; each is carried to the moving one by its own affine.

    Attributes:
        fixed: (1, 1, H, W).
        masks: (H, W) bool, one a piece.
    """

    def __init__(self, rows: int, columns: int, height: int, width: int, gap: int = GAP) -> None:
        self.shape = rows * (height + gap) + gap, columns * (width + gap) + gap
        self.fixed = torch.zeros(1, 1, *self.shape)
        self.masks: list[torch.Tensor] = []
        self.centres: list[np.ndarray] = []
        for index in range(rows * columns):
            row = gap + (index // columns) * (height + gap)
            column = gap + (index % columns) * (width + gap)
            inside = oval(height, width)
            place = slice(row, row + height), slice(column, column + width)
            self.fixed[0, 0][place] = texture(index, height, width) * inside
            mask = torch.zeros(self.shape, dtype=torch.bool)
            mask[place] = inside > 0
            self.masks.append(mask)
            self.centres.append(np.array([row + (height - 1) / 2, column + (width - 1) / 2]))

    def turn(self, index: int, degrees: float, shift: tuple[float, float] = (0, 0), to: int | None = None) -> Matrix:
        """The affine, fixed -> moving, of a piece that is turned about its centre and shifted, or put elsewhere."""
        matrix = rotation_about_centre((1, 1), degrees)
        centre = self.centres[index]
        target = self.centres[index if to is None else to]
        matrix[:2, 2] = target + shift - matrix[:2, :2] @ centre
        return matrix

    def pair(self, affines: Mapping[int, Matrix]) -> PairImages:
        """The moving image holds the pieces that have an affine, with another contrast."""
        moving = torch.zeros(1, 1, *self.shape)
        for index, matrix in affines.items():
            back = identity_grid(self.shape)[None] + affine_to_ddf(np.linalg.inv(matrix), self.shape)
            moving += sample(self.fixed * self.masks[index], back, "zeros")
        moving = moving.clamp(0, 1) ** 1.2
        return PairImages(moving, self.fixed, (moving > 0.03).float(), (self.fixed > 0.03).float())

    def errors(self, ddf: torch.Tensor, affines: Mapping[int, Matrix]) -> dict[int, float]:
        """What 95 % of the errors within each piece stay below, voxels."""
        return {
            index: float((ddf - affine_to_ddf(matrix, self.shape)).norm(dim=1)[0][self.masks[index]].quantile(0.95))
            for index, matrix in affines.items()
        }


def align(images: PairImages, mirrored: bool = False) -> Estimate:
    estimate = AffineAlignment(XFeatMatcher())(images, Estimate.identity(images.shape))
    return PieceAlignment(XFeatMatcher(), mirrored=mirrored)(images, estimate)


@pytest.fixture(scope="module")
def two() -> Slide:
    return Slide(1, 2, 300, 260)


def test_one_piece_is_left_as_it_is(make_pair) -> None:
    images = make_pair(10).images

    def no_matcher(moving, fixed):
        raise AssertionError

    estimate = Estimate.identity(images.shape)
    assert PieceAlignment(no_matcher)(images, estimate) is estimate


def test_pieces_that_moved_together_keep_the_affine(two) -> None:
    whole = rotation_about_centre(two.shape, 6.0)
    found = align(two.pair({0: whole, 1: whole}))
    assert found.base is None
    assert found.stages[-1].details["moved_pieces"] == 0
    assert found.stages[-1].details["found_pieces"] == 2


CASES: dict[str, Callable[[Slide], dict[int, Matrix]]] = {
    "turned a little": lambda s: {0: s.turn(0, -7, (5, 12)), 1: s.turn(1, 8, (-10, 3))},
    "one far": lambda s: {0: s.turn(0, 3, (4, 0)), 1: s.turn(1, 100, (0, 10))},
    "swapped": lambda s: {0: s.turn(0, 5, to=1), 1: s.turn(1, -4, (10, 0), to=0)},
    "swapped and turned over": lambda s: {0: s.turn(0, 5, to=1), 1: s.turn(1, 180, to=0)},
}


@pytest.mark.parametrize("case", CASES)
def test_two_pieces_that_moved_by_themselves(case: str, two) -> None:
    affines = CASES[case](two)
    images = two.pair(affines)
    found = align(images)
    assert max(two.errors(found.ddf, affines).values()) < 1.5
    assert found.base is not None
    back = compose(found.ddf, found.base.inverse).norm(dim=1)[0]
    assert back[images.moving_mask[0, 0] > 0.5].quantile(0.99) < 0.1
    assert found.base.lone.sum() == 0


def test_the_chain_carries_the_pieces_field(two) -> None:
    affines = CASES["swapped"](two)
    images = two.pair(affines)
    seen = []

    def watch(images: PairImages, estimate: Estimate) -> Estimate:
        seen.append((images, estimate))
        return estimate

    result = Chain([AffineAlignment(XFeatMatcher()), PieceAlignment(XFeatMatcher()), watch])(images)
    ((aligned, start),) = seen
    assert not start.ddf.any()
    np.testing.assert_array_equal(start.affine, np.eye(3))
    assert (start.matches.moving - start.matches.fixed).norm(dim=1).median() < 2
    inside = ndimage.binary_erosion(images.fixed_mask[0, 0].numpy() > 0.5, iterations=5)
    assert (aligned.moving ** (1 / 1.2) - aligned.fixed)[0, 0][inside].abs().median() < 0.03
    assert max(two.errors(result.ddf, affines).values()) < 1.5
    assert compose(result.ddf, result.inverse).norm(dim=1)[0][images.moving_mask[0, 0] > 0.5].quantile(0.99) < 0.1
    expected = affine_to_ddf(affines[0], two.shape)
    on_first = two.masks[0][tuple(result.matches.fixed.round().long().T)]
    row, column = result.matches.fixed[on_first].round().long().T
    moved = result.matches.fixed[on_first] + expected[0, :, row, column].T
    assert (moved - result.matches.moving[on_first]).norm(dim=1).median() < 2


@pytest.mark.parametrize("gone", [0, 1])
def test_a_missing_piece_is_told_and_hidden(gone: int) -> None:
    slide = Slide(1, 3, 260, 220)
    affines = {k: slide.turn(k, 6 * (k - 1), (4 * k, 3)) for k in range(3) if k != gone}
    found = align(slide.pair(affines))
    assert max(slide.errors(found.ddf, affines).values()) < 1.5
    assert found.stages[-1].details["lone_pieces"] == 1
    assert found.base is not None
    shown = [bool(found.base.lone[0, 0][mask].all()) for mask in slide.masks]
    assert shown == [k == gone for k in range(3)]


@pytest.mark.slow
def test_many_cores_with_shifts_of_their_own() -> None:
    """The masks are generous, as those of slides are: on them the cores hang together."""
    slide = Slide(4, 5, 150, 150, 40)
    random = np.random.default_rng(0)
    affines = {k: slide.turn(k, random.uniform(-6, 6), tuple(random.uniform(-8, 8, 2))) for k in range(20)}
    images = slide.pair(affines)
    images = replace(images, fixed_mask=grown(images.fixed_mask), moving_mask=grown(images.moving_mask))
    assert ndimage.label(images.fixed_mask[0, 0].numpy())[1] == 1
    found = align(images)
    assert max(slide.errors(found.ddf, affines).values()) < 1.5
    assert found.stages[-1].details["pieces"] == 20
    tissue = torch.stack(slide.masks).any(dim=0)[None, None].float()
    assert folding_share(found.ddf, tissue) < 0.001


def grown(mask: torch.Tensor) -> torch.Tensor:
    density = ndimage.gaussian_filter(mask[0, 0].numpy(), max(mask.shape) / 60, mode="constant")
    return torch.from_numpy((density > 0.15).astype(np.float32))[None, None]


def test_no_matches_between_strangers_move_a_piece(two) -> None:
    images = two.pair({0: two.turn(0, 4), 1: two.turn(1, 4)})
    strange = images.moving.clone()
    strange[..., two.masks[1]] = torch.rand(int(two.masks[1].sum()), generator=torch.Generator().manual_seed(0))
    found = align(replace(images, moving=strange))
    assert max(two.errors(found.ddf, {0: two.turn(0, 4)}).values()) < 1.5
    assert found.stages[-1].details["found_pieces"] == 1
