"""Overlap of label maps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from custom_components.common.errors import InputError


def dice_per_label(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> dict[int, float]:
    """Dice of every non-zero label that occurs in either map: 2 |A and B| / (|A| + |B|).

    Args:
        first: label map of any shape, 0 is background.
        second: label map of the same shape.

    Returns:
        label -> Dice, in ascending order of labels.

    Raises:
        InputError: the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(f"label maps differ in shape: {first.shape} and {second.shape}")
    labels = np.union1d(np.unique(first), np.unique(second))
    return {
        int(label): float(
            2 * ((first == label) & (second == label)).sum() / ((first == label).sum() + (second == label).sum())
        )
        for label in labels
        if label != 0
    }
