"""Which channel of an image is matched on: the one that is asked for, else that of the nuclei, else the mean of all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.layout import Layout

# stains of nuclei, which every section of a tissue shows
NUCLEI = re.compile(
    r"dapi|hoechst|h33342|nuclei|nuclear|nucleus|draq\s?[57]|ha?ematox|sytox|syto|propidium|histone|\bpi\b|to-?pro",
    re.IGNORECASE,
)
RGB_NAMES = {"red": 0, "green": 1, "blue": 2}


def matched_channel(
    layout: Layout, count: int, wanted: str | int | None, file: Path
) -> tuple[int | None, tuple[str, ...]]:
    """The number of the channel that is matched on, None for the luminance of RGB or the mean of all; and notes.

    Args:
        layout: of the file.
        count: channels of the image.
        wanted: name or number from 0 that the user gives, or None.
        file: what a message calls the image.

    Raises:
        InputError: no channel has the name or number.
    """
    names = [name.lower() for name in layout.names]
    if wanted is not None:
        text = str(wanted).strip().lower()
        number: int | None = names.index(text) if text in names else None
        if layout.kind == "rgb" and text in RGB_NAMES:
            number = RGB_NAMES[text]
        if number is None and isinstance(wanted, int):
            number = wanted
        if number is None or not 0 <= number < count:
            there = f": {', '.join(layout.names)}" if layout.names else ""
            raise InputError(f"image {file} has channels 0 to {count - 1}{there}; asked for '{wanted}'")
        return number, ()
    if layout.kind != "channels":
        return None, ()
    key = "--moving_channel or --fixed_channel chooses another"
    for number, name in enumerate(layout.names):
        if NUCLEI.search(name):
            return number, (f"matched on channel {number} '{name}', the nuclei, of {count}; {key}",)
    there = f"'{', '.join(layout.names)}'" if layout.names else "without names"
    return None, (f"matched on the mean of its {count} channels {there}; {key}",)


def single_channel(layout: Layout, channel: int) -> Layout:
    """How an image is stored of which one channel is left."""
    names, colours = layout.names[channel : channel + 1], layout.colours[channel : channel + 1]
    return replace(layout, kind="grey", names=names, colours=colours, icc=None)


def as_matched(array: Array, layout: Layout, channel: int | None) -> Array:
    """(C, *spatial) reduced to what is matched on: one channel, or the three of RGB.

    Args:
        array: all channels.
        layout: of the file.
        channel: see ``matched_channel``.
    """
    if channel is not None:
        return array[channel : channel + 1]
    if layout.kind == "rgb" or len(array) == 1:
        return array
    return np.asarray(array.astype(np.float32).mean(axis=0, keepdims=True))
