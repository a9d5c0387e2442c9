"""Augmentation of a pair for training without labels: small motion of one image, grey values of each, flips of both.

The idea, without ranges, is in Wodzinski and Mueller, MLMI 2020; the ranges are this project's choice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from torch import Tensor

from custom_components.common.arrays import Matrix
from custom_components.common.errors import InputError
from custom_components.fields import Grid, affine_to_ddf, warp

KEYS = ("working_moving", "working_fixed", "mask_moving", "mask_fixed")


@dataclass(frozen=True)
class PairDraw:
    """What chance decided for one pair; applied in this order.

    Attributes:
        swap: the images change roles.
        motion: (3, 3) row/col matrix in voxels, new -> old, of one image.
        moves_fixed: that image is the fixed one.
        flips: axes (0 rows, 1 columns) that both are flipped along.
        quarter_turns: both are turned by so many times 90 degrees, the last column becoming the first row.
        gamma: exponents of the moving and of the fixed image.
        offset: added to the tissue of the moving and of the fixed image.
    """

    swap: bool
    motion: Matrix
    moves_fixed: bool
    flips: tuple[int, ...]
    quarter_turns: int
    gamma: tuple[float, float]
    offset: tuple[float, float]

    def matrices(self, shape: tuple[int, int]) -> tuple[Matrix, Matrix]:
        """(3, 3) row/col matrices in voxels, new -> old, of the moving and the fixed image after the swap.

        Args:
            shape: (H, W) of the old images.
        """
        flip = np.eye(3)
        for axis in self.flips:
            flip[axis, axis], flip[axis, 2] = -1, shape[axis] - 1
        turn, sides = np.eye(3), shape
        for _ in range(self.quarter_turns):
            # new (row, col) was (col, last column - row) of the image before the turn
            turn = turn @ np.array([[0.0, 1, 0], [-1, 0, sides[1] - 1], [0, 0, 1]])
            sides = sides[::-1]
        both = flip @ turn
        moved = self.motion @ both
        return (both, moved) if self.moves_fixed else (moved, both)


class RandomPairAugmentation(Randomizable):
    """Augments a batch of pairs, each pair in its own way.

    One image of each pair, chosen at random, is moved by a small affine about its centre; then both are flipped and
    turned together, so that what has to be found stays a small motion. Grey values change in each image on its own:
    ``image ** gamma``, and an offset on the tissue, so that the background stays black. Masks follow their images.

    Args:
        rotation: degrees, drawn from -rotation..rotation; so are translation, shear and offset.
        scale: range of the factor by which the image grows.
        translation: share of each side.
        shear: displacement of the columns per row.
        gamma: range of the exponent, drawn evenly in its logarithm.
        offset: grey values, of images in 0..1.
        swap: probability that the images change roles.
        flip: probability, for each axis, that both images are flipped.
        quarter_turn: probability that both are turned by 90, 180 or 270 degrees; images that are not square only by
            180, as their size must stay.

    Raises:
        InputError: a range is empty or a probability not in 0..1.
    """

    def __init__(
        self,
        rotation: float = 3.0,
        scale: Sequence[float] = (0.97, 1.03),
        translation: float = 0.01,
        shear: float = 0.005,
        gamma: Sequence[float] = (0.8, 1.25),
        offset: float = 0.05,
        swap: float = 0.5,
        flip: float = 0.5,
        quarter_turn: float = 0.75,
    ) -> None:
        for name, pair in (("scale", scale), ("gamma", gamma)):
            if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
                raise InputError(f"{name} is a range of two positive numbers, the smaller first, got {tuple(pair)}")
        for name, number in (
            ("rotation", rotation),
            ("translation", translation),
            ("shear", shear),
            ("offset", offset),
        ):
            if number < 0:
                raise InputError(f"{name} must not be negative, got {number}")
        for name, chance in (("swap", swap), ("flip", flip), ("quarter_turn", quarter_turn)):
            if not 0 <= chance <= 1:
                raise InputError(f"{name} is a probability in 0..1, got {chance}")
        self.rotation = rotation
        self.scale = (scale[0], scale[1])
        self.translation = translation
        self.shear = shear
        self.gamma = (gamma[0], gamma[1])
        self.offset = offset
        self.swap = swap
        self.flip = flip
        self.quarter_turn = quarter_turn

    def draw(self, shape: tuple[int, int]) -> PairDraw:
        """Chance's decisions for one pair of size ``shape`` (H, W)."""
        angle = np.deg2rad(self._within(self.rotation))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.array([[1.0, 0.0], [self._within(self.shear), 1.0]]) / self.R.uniform(*self.scale)
        centre = (np.array(shape) - 1) / 2
        motion = np.eye(3)
        motion[:2, :2] = linear
        motion[:2, 2] = centre - linear @ centre + [self._within(self.translation) * side for side in shape]
        turns = (1, 2, 3) if shape[0] == shape[1] else (2,)
        return PairDraw(
            swap=bool(self.R.random_sample() < self.swap),
            motion=motion,
            moves_fixed=bool(self.R.random_sample() < 0.5),
            flips=tuple(axis for axis in (0, 1) if self.R.random_sample() < self.flip),
            quarter_turns=int(self.R.choice(turns)) if self.R.random_sample() < self.quarter_turn else 0,
            gamma=(self._exponent(), self._exponent()),
            offset=(self._within(self.offset), self._within(self.offset)),
        )

    def __call__(
        self, moving: Tensor, fixed: Tensor, moving_mask: Tensor, fixed_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The augmented batch, in the order and shapes given.

        Args:
            moving: (B, 1, H, W) in [0, 1], tissue bright on black.
            fixed: the same.
            moving_mask: the same, 1 on tissue.
            fixed_mask: the same.

        Raises:
            InputError: the shapes differ.
        """
        shapes = {tuple(t.shape) for t in (moving, fixed, moving_mask, fixed_mask)}
        if len(shapes) != 1 or moving.ndim != 4 or moving.shape[1] != 1:
            raise InputError(f"a batch of pairs needs images and masks of one shape (B, 1, H, W), got {sorted(shapes)}")
        pairs = zip(*(t.split(1) for t in (moving, fixed, moving_mask, fixed_mask)), strict=True)
        augmented = [apply_draw(self.draw((moving.shape[2], moving.shape[3])), *pair) for pair in pairs]
        first, second, third, fourth = (torch.cat(part) for part in zip(*augmented, strict=True))
        return first, second, third, fourth

    def _within(self, reach: float) -> float:
        return float(self.R.uniform(-reach, reach))

    def _exponent(self) -> float:
        return float(np.exp(self.R.uniform(*np.log(self.gamma))))


def apply_draw(
    draw: PairDraw, moving: Tensor, fixed: Tensor, moving_mask: Tensor, fixed_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One pair, images and masks (1, 1, H, W), as ``draw`` says; square if it turns by 90 or 270 degrees."""
    images, masks = [moving, fixed], [moving_mask, fixed_mask]
    if draw.swap:
        images, masks = images[::-1], masks[::-1]
    if not np.array_equal(draw.motion, np.eye(3)):
        which = int(draw.moves_fixed)
        ddf = affine_to_ddf(draw.motion, moving.shape[2:]).to(moving)
        images[which], masks[which] = warp(images[which], ddf), warp(masks[which], ddf, mode="nearest")
    axes = [axis + 2 for axis in draw.flips]
    images, masks = ([t.flip(axes).rot90(draw.quarter_turns, (2, 3)) for t in part] for part in (images, masks))
    images = [
        recolour(image, mask, gamma, offset)
        for image, mask, gamma, offset in zip(images, masks, draw.gamma, draw.offset, strict=True)
    ]
    return images[0], images[1], masks[0], masks[1]


def recolour(image: Tensor, mask: Tensor, gamma: float, offset: float) -> Tensor:
    """``image ** gamma``, plus ``offset`` where ``mask`` is 1, in [0, 1]; what is black outside the mask stays black.

    Args:
        image: (B, 1, H, W) in [0, 1].
        mask: the same shape, 0..1.
        gamma: exponent.
        offset: grey values.
    """
    if gamma == 1 and offset == 0:
        return image
    return (image.clamp(0, 1) ** gamma + offset * mask).clamp(0, 1)


class RandPairAugmentd(Randomizable, Transform):
    """``RandomPairAugmentation`` of a prepared pair, of the keys that the preparation writes.

    The ``affine`` of each image follows, so that points and fields still find their way; on a swap it goes
    with its image.

    Args:
        augmentation: None takes its defaults.
        keys: of the moving image, the fixed image and their masks, MetaTensors (1, H, W).

    Raises:
        InputError: there are not four keys.
    """

    def __init__(self, augmentation: RandomPairAugmentation | None = None, keys: Sequence[Hashable] = KEYS) -> None:
        if len(keys) != len(KEYS):
            raise InputError(f"keys name moving, fixed, moving mask and fixed mask, got {tuple(keys)}")
        self.augmentation = augmentation or RandomPairAugmentation()
        self.keys = tuple(keys)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandPairAugmentd:
        """Seed both this transform and what it wraps."""
        super().set_random_state(seed, state)
        self.augmentation.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the four images.

        Raises:
            InputError: a key is missing, or the shapes differ.
        """
        missing = [key for key in self.keys if key not in data]
        if missing:
            raise InputError(f"a pair to augment needs {', '.join(map(str, self.keys))}; missing: {missing}")
        tensors = [torch.as_tensor(data[key], dtype=torch.float32)[None] for key in self.keys]
        if len({tuple(t.shape) for t in tensors}) != 1 or tensors[0].shape[:2] != (1, 1):
            raise InputError(
                f"a pair to augment needs images and masks of one shape (1, H, W), got "
                f"{[tuple(t.shape[1:]) for t in tensors]}"
            )
        shape = (tensors[0].shape[2], tensors[0].shape[3])
        draw = self.augmentation.draw(shape)
        parts = [data[key] if isinstance(data[key], MetaTensor) else MetaTensor(data[key]) for key in self.keys]
        known = [(Grid.of(part), part.meta) for part in parts]
        if draw.swap:
            known = [known[1], known[0], known[3], known[2]]
        result = dict(data)
        images = apply_draw(draw, *(as_plain(t) for t in tensors))
        for key, image, (grid, meta), matrix in zip(self.keys, images, known, draw.matrices(shape) * 2, strict=True):
            result[key] = replace(grid, matrix=grid.matrix @ matrix).on(image[0], meta)
        return result


def as_plain(image: Tensor) -> Tensor:
    """The tensor without a MetaTensor's bookkeeping."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image
