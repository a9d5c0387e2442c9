"""Sections in several pieces: each piece that moved by itself gets an affine of its own.

Pieces of one section are laid on the slide one by one: they end up turned, shifted or in another order, or are lost.
Each fixed piece is matched by itself with the tissue that the global affine brings to it. Pieces that find too little
there are looked for, in all rotations, in the moving tissue that no other piece has claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from custom_components.common import booleans
from custom_components.common.arrays import Matrix
from custom_components.fields import affine_to_ddf, grid_change, identity_grid, sample, smooth
from custom_components.inferers.affine_alignment import (
    erode_mask,
    implausible,
    inside,
    rotation_about_centre,
)
from custom_components.inferers.result import Base, Estimate, PairImages, Stage
from custom_components.inferers.tissue_pieces import Labels, Mask, apart, blended, carried, find_pieces, nearest
from custom_components.matching.affine import apply_affine, fit_affine, refine_affine
from custom_components.matching.matcher import Matcher
from custom_components.matching.point_pairs import PointPairs

STAGE = "piece alignment"
RIM = 1 / 60  # share of the longer side: by about as much a tissue mask reaches beyond its tissue
OUTLINE = 0.025  # share of a piece's diagonal next to its outline where matches don't count
MARGIN = 0.1  # share of a piece's diagonal that is looked at around it
LEAST_SEARCHED = 256  # voxels of the diagonal to which a piece is shrunk at most during the search
ENOUGH = 4  # times the least number of matches that end the search for a piece
PASSES = 6  # at most, of matching a piece with what its affine brings to it
STILL = 0.2  # voxels; moves by less end them
TRIES = 3  # places at which a piece that was searched for is looked at closely


@dataclass(frozen=True)
class Found:
    """Where a piece lies.

    Attributes:
        matrix: (3, 3) row/col voxels, fixed -> moving.
        pairs: all matches of the piece, in the voxels of the images.
        inliers: (N,) bool, those that agree with the affine.
    """

    matrix: Matrix
    pairs: PointPairs
    inliers: Tensor

    @property
    def count(self) -> int:
        """Matches that agree."""
        return int(self.inliers.sum())


class PieceAlignment:
    """See the module's text; stands after ``AffineAlignment``, whose affine it starts from and keeps.

    With one piece of tissue in both images, and where no piece is aligned clearly better by an affine of its own, the
    field stays as it is.

    Args:
        matcher: finds pairs; XFeat tolerates about 25 degrees, hence the step.
        rotation_step: degrees between the hypotheses that a piece is searched by.
        mirrored: a piece may also have been turned over by itself.
        search_size: longest side of the images during the search, voxels; more where pieces are small.
        least_piece: share of the tissue; what is smaller goes with the piece next to it.
        threshold: distance, as a share of a piece's diagonal, within which a match agrees with an affine.
        gain: factor by which more matches must agree well with a piece's own affine than with the global one.
        min_matches: with fewer that agree a piece has not been found,
        min_share: nor with a smaller share of all; on other tissue at most a sixth agrees, by its outline.
        max_scale: by which the size of a piece may differ from what the global affine makes it.
        max_shear: by which its two directions may.
        overlap: share of a piece that may lie on moving tissue which another one has claimed.
    """

    def __init__(
        self,
        matcher: Matcher,
        rotation_step: float = 30.0,
        mirrored: bool = False,
        search_size: int = 512,
        least_piece: float = 0.01,
        threshold: float = 0.02,
        gain: float = 1.2,
        min_matches: int = 25,
        min_share: float = 0.26,
        max_scale: float = 1.15,
        max_shear: float = 1.2,
        overlap: float = 0.3,
    ) -> None:
        self.matcher = matcher
        self.rotation_step = rotation_step
        self.mirrored = booleans.parse_bool(mirrored, "mirrored")
        self.search_size = search_size
        self.least_piece = least_piece
        self.threshold = threshold
        self.gain = gain
        self.min_matches = min_matches
        self.min_share = min_share
        self.max_scale = max_scale
        self.max_shear = max_shear
        self.overlap = overlap

    def __call__(self, images: PairImages, estimate: Estimate) -> Estimate:
        """See ``Step``; where pieces moved by themselves the estimate has a ``base``, and ``ddf`` is its field."""
        start, rim = perf_counter(), RIM * max(images.shape)
        pieces, others = (
            find_pieces(image, mask, self.least_piece)
            for image, mask in ((images.fixed, images.fixed_mask), (images.moving, images.moving_mask))
        )
        count = int(pieces.max())
        if max(count, int(others.max())) < 2:
            return estimate
        masks = [pieces == number for number in range(1, count + 1)]
        tissue = images.moving_mask[0, 0].cpu().numpy() > 0.5
        found = self._in_place(images, masks, estimate.affine)
        moved = {k for k, piece in found.items() if self._is_better(piece, estimate.affine)}
        claimed = _union((carried(masks[k], found[k].matrix) for k in found), images.shape)
        if len(found) < count:
            searched = self._searched(images, masks, others, found, claimed, estimate.affine)
            found |= searched
            moved |= set(searched)
            claimed |= _union((carried(masks[k], found[k].matrix) for k in searched), images.shape)
        lone = {k for k in range(count) if k not in found and _is_lone(masks[k], estimate.affine, tissue, claimed)}
        details = {
            "pieces": count, "moving_pieces": int(others.max()), "found_pieces": len(found),
            "moved_pieces": len(moved), "lone_pieces": len(lone),
        }  # fmt: skip
        done = (*estimate.stages, Stage(STAGE, perf_counter() - start, details))
        if not moved:
            return replace(estimate, stages=done)
        matrices = [found[k].matrix if k in moved else estimate.affine for k in range(count)]
        base = _base(images, pieces, matrices, lone, tissue, estimate.affine, rim)
        matches, dropped = (
            PointPairs.concatenate([p.pairs.select(p.inliers == kept) for p in found.values()])
            for kept in (True, False)
        )
        return replace(estimate, ddf=base.ddf, base=base, matches=matches, dropped=dropped, stages=done)

    def _in_place(self, images: PairImages, masks: Sequence[Mask], affine: Matrix) -> dict[int, Found]:
        """The pieces that lie about where the affine has them, by their index; of two on one place the better."""
        looked = {k: self._closely(images, mask, affine, affine) for k, mask in enumerate(masks)}
        found: dict[int, Found] = {}
        taken = np.zeros(images.shape, bool)
        for k, piece in sorted(looked.items(), key=lambda item: -(item[1].count if item[1] else 0)):
            if piece is None:
                continue
            here = carried(masks[k], piece.matrix)
            if not _covered(here, taken) > self.overlap:
                found[k] = piece
                taken |= here
        return found

    def _closely(self, images: PairImages, mask: Mask, matrix: Matrix, affine: Matrix) -> Found | None:
        """Where a piece lies, if about where ``matrix`` has it; matched again until it stays there."""
        piece: Found | None = None
        near, corners = self.threshold * _diagonal(mask), _corners(mask)
        for _ in range(PASSES):
            pairs = self._matches(images, mask, matrix)
            fit = fit_affine(pairs, near)
            if fit is None:
                return None
            before, matrix = matrix, refine_affine(pairs, fit.matrix, near / 2)
            if self._is_odd(matrix, affine):
                return None
            piece = Found(matrix, pairs, _residuals(pairs, matrix) < near)
            if (apply_affine(matrix, corners) - apply_affine(before, corners)).norm(dim=1).max() < STILL:
                break
            if before is affine and not self._is_better(piece, affine):
                break  # it will keep that one
        if piece is None or piece.count < max(self.min_matches, self.min_share * len(piece.pairs)):
            return None
        return piece

    def _matches(self, images: PairImages, mask: Mask, matrix: Matrix) -> PointPairs:
        """Pairs between a fixed piece and the moving image as ``matrix`` has it, in the voxels of the images."""
        margin = round(MARGIN * _diagonal(mask))
        (top, bottom), (left, right) = (
            (max(int(index.min()) - margin, 0), min(int(index.max()) + margin + 1, side))
            for index, side in zip(np.nonzero(mask), mask.shape, strict=True)
        )
        own = torch.from_numpy(mask[top:bottom, left:right]).to(images.fixed)[None, None]
        fixed = images.fixed[..., top:bottom, left:right] * own
        corner = np.eye(3)
        corner[:2, 2] = top, left
        pairs = self.matcher(_read(images.moving, matrix @ corner, tuple(fixed.shape[2:])), fixed)
        # outlines agree by themselves, and so do places on the glass around them
        pairs = inside(pairs, erode_mask(own, OUTLINE * _diagonal(mask)))
        return PointPairs(_carry(matrix @ corner, pairs.moving), _carry(corner, pairs.fixed), pairs.score)

    def _is_odd(self, matrix: Matrix, affine: Matrix) -> bool:
        """Whether a piece would have another size or form than the global affine gives it."""
        return bool(implausible(np.linalg.inv(affine) @ matrix, self.max_scale, self.max_shear))

    def _is_better(self, piece: Found, affine: Matrix) -> bool:
        """Whether clearly more matches of a piece agree well with its own affine than with the global one."""
        residuals = _residuals(piece.pairs, piece.matrix)
        near = max(1.5 * float(residuals[piece.inliers].median()), 1.0)
        common = int((_residuals(piece.pairs, affine) < near).sum())
        return int((residuals < near).sum()) > self.gain * common

    def _searched(
        self, images: PairImages, masks: Sequence[Mask], others: Labels, found: dict[int, Found], claimed: Mask,
        affine: Matrix,
    ) -> dict[int, Found]:  # fmt: skip
        """The pieces that are not where the affine has them but elsewhere on moving tissue that none has claimed."""
        missing = [k for k in range(len(masks)) if k not in found]
        free = (others > 0) & ~claimed
        least = 0.5 * min(masks[k].sum() for k in missing)
        left = [j for j in range(1, int(others.max()) + 1) if (free & (others == j)).sum() >= least]
        if not left:
            return {}
        places: dict[tuple[int, int], tuple[int, Matrix]] = {}
        for mirrored in [False, True] if self.mirrored else [False]:
            if not self._search(images, masks, missing, (others, free, left), affine, mirrored, places):
                break
        new: dict[int, Found] = {}
        tries = dict.fromkeys(missing, TRIES)
        claimed = claimed.copy()
        for (k, _), (_, matrix) in sorted(places.items(), key=lambda item: -item[1][0]):
            if k in new or tries[k] == 0:
                continue
            tries[k] -= 1
            piece = self._closely(images, masks[k], matrix, affine)
            if piece is None:
                continue
            here = carried(masks[k], piece.matrix)
            if _covered(here, claimed) <= self.overlap:
                new[k] = piece
                claimed |= here
        return new

    def _search(
        self, images: PairImages, masks: Sequence[Mask], missing: Sequence[int],
        free: tuple[Labels, Mask, Sequence[int]], affine: Matrix, mirrored: bool,
        places: dict[tuple[int, int], tuple[int, Matrix]],
    ) -> bool:  # fmt: skip
        """Note, for each missing piece and free moving one, the affine that most matches agree on, and how many.

        Returns:
            Whether one of the missing pieces has still to be looked for.
        """
        others, unclaimed, left = free
        smallest = min(_diagonal(masks[k]) for k in missing)
        factor = max(1.0, min(max(images.shape) / self.search_size, smallest / LEAST_SEARCHED))
        shape = (round(images.shape[0] / factor), round(images.shape[1] / factor))
        wanted = [torch.from_numpy(masks[k]).to(images.fixed.device)[None, None] for k in missing]
        theirs = [torch.from_numpy(others == j).to(images.fixed.device)[None, None] for j in left]
        fixed = F.interpolate(images.fixed * torch.stack(wanted).any(dim=0), shape, mode="area")
        to_full = grid_change(shape, images.shape)
        moving = images.moving * torch.from_numpy(unclaimed).to(images.moving)
        moving = smooth(moving, 0.5 * float(np.sqrt(factor**2 - 1))) if factor > 1.2 else moving
        certain: set[int] = set()
        for degrees in np.arange(0, 360, self.rotation_step):
            canvas, matrix = turned(moving, unclaimed, affine, float(degrees), mirrored, factor)
            pairs = self.matcher(canvas, fixed)
            pairs = PointPairs(_carry(matrix, pairs.moving), _carry(to_full, pairs.fixed), pairs.score)
            for (own, k), (other, j) in product(zip(wanted, missing, strict=True), zip(theirs, left, strict=True)):
                both = _turned_over(inside(_turned_over(inside(pairs, own)), other))
                fit = fit_affine(both, self.threshold * _diagonal(masks[k]))
                if fit is None or self._is_odd(fit.matrix, affine):
                    continue
                if fit.count > places.get((k, j), (0, affine))[0]:
                    places[k, j] = fit.count, fit.matrix
                if fit.count >= max(ENOUGH * self.min_matches, self.min_share * len(both)):
                    certain.add(k)
            if len(certain) == len(missing):
                return False
        return True


def turned(
    image: Tensor, mask: Mask, affine: Matrix, degrees: float, mirrored: bool, factor: float
) -> tuple[Tensor, Matrix]:
    """The part of a moving image that a mask shows, as the linear part of an affine has it after a turn.

    Args:
        image: (1, 1, H, W).
        mask: (H, W), not empty.
        affine: (3, 3) row/col voxels, fixed -> moving.
        degrees: of the turn.
        mirrored: whether it is turned over as well.
        factor: by which the result is coarser.

    Returns:
        (1, 1, h, w), large enough for all of the mask, and the affine (3, 3) from its voxels to those of the image.
    """
    turn = rotation_about_centre((1, 1), degrees, mirrored, factor)[:2, :2]
    linear = affine[:2, :2] @ turn
    corners = np.stack(np.nonzero(mask)) + 0.0
    there = np.linalg.inv(linear) @ corners
    low, high = there.min(axis=1), there.max(axis=1)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, linear @ low
    return _read(image, matrix, tuple(int(side) + 1 for side in np.ceil(high - low))), matrix


def _read(image: Tensor, matrix: Matrix, shape: tuple[int, ...]) -> Tensor:
    """(1, 1, *shape) the image at the places that an affine gives, 0 outside."""
    positions = identity_grid(shape)[None] + affine_to_ddf(matrix, shape)
    return sample(image, positions.to(image), padding_mode="zeros")


def _carry(matrix: Matrix, points: Tensor) -> Tensor:
    """Points (N, 2) through an affine, in double precision between."""
    return apply_affine(matrix, points.double()).float()


def _turned_over(pairs: PointPairs) -> PointPairs:
    return PointPairs(pairs.fixed, pairs.moving, pairs.score)


def _residuals(pairs: PointPairs, matrix: Matrix) -> Tensor:
    """(N,) voxels by which pairs disagree with an affine."""
    away: Tensor = (apply_affine(matrix, pairs.fixed.double()) - pairs.moving.double()).norm(dim=1)
    return away


def _corners(mask: Mask) -> Tensor:
    """(4, 2) of the bounding box of a mask that is not empty."""
    (top, bottom), (left, right) = ((float(i.min()), float(i.max())) for i in np.nonzero(mask))
    return torch.tensor([[r, c] for r in (top, bottom) for c in (left, right)], dtype=torch.float64)


def _diagonal(mask: Mask) -> float:
    """Of the bounding box of a mask that is not empty, voxels."""
    rows, columns = np.nonzero(mask)
    return float(np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1))


def _covered(mask: Mask, other: Mask) -> float:
    """Share of a mask that another one covers; 1 of an empty one."""
    return float((mask & other).sum() / mask.sum()) if mask.any() else 1.0


def _union(masks: Iterator[Mask], shape: tuple[int, ...]) -> Mask:
    total = np.zeros(shape, bool)
    for mask in masks:
        total |= mask
    return total


def _is_lone(mask: Mask, affine: Matrix, tissue: Mask, claimed: Mask) -> bool:
    """Whether a piece that was not found lies on glass, or on tissue that other pieces have claimed."""
    here = carried(mask, affine)
    return _covered(here, tissue & ~claimed) < 0.5


def _base(
    images: PairImages, pieces: Labels, matrices: Sequence[Matrix], lone: set[int], tissue: Mask, affine: Matrix,
    rim: float,
) -> Base:  # fmt: skip
    """The field of all pieces and its inverse; what belongs to none goes with the piece that it is nearest to."""
    count = len(matrices)
    parts = [pieces == number for number in range(1, count + 1)]
    ddf = blended(list(zip(apart(parts, rim), matrices, strict=True)), images.shape)
    there = [carried(part, matrix) for part, matrix in zip(parts, matrices, strict=True)]
    owner = nearest([mask & (k not in lone) for k, mask in enumerate(there)])
    owned = [tissue & (owner == k) for k in range(count)]
    backs = [np.asarray(np.linalg.inv(matrix)) for matrix in matrices]
    inverse = blended(list(zip(apart(owned, rim), backs, strict=True)), images.shape)
    alone = torch.from_numpy(np.isin(nearest(parts), list(lone)))[None, None]
    return Base(ddf.to(images.fixed), inverse.to(images.fixed), alone.to(images.fixed))
