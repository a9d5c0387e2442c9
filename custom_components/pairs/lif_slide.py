"""Leica's LIF as a slide: an image of several, its channels by name, one plane of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.formats import PixelSize
from custom_components.pairs.frame_slide import FrameSlide, chosen_series
from custom_components.pairs.layout import Layout
from custom_components.pairs.pixel_sizes import TO_MICROMETRE
from custom_components.pairs.reading import AS_STORED, Reading

# what ``DimID`` means; what else there is are axes of planes
AXES = {1: "X", 2: "Y", 3: "Z", 4: "T", 5: "emission", 6: "rotation", 9: "excitation", 10: "tiles"}
RGB_TAGS = (1, 2, 3)  # ``ChannelTag`` of red, green and blue; those of fluorescence have 0
LOOKUPS = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "cyan": (0, 255, 255), "magenta": (255, 0, 255),
    "yellow": (255, 255, 0), "gray": (255, 255, 255), "grey": (255, 255, 255),
}  # fmt: skip
DESCRIPTION = "./Data/Image/ImageDescription"


class LifSlide(FrameSlide):
    """An image of a LIF, mapped into memory; see ``Slide``. Any number of threads may read at once.

    Args:
        path: of the file.
        reading: what the user says of it; ``series`` is the name or number of an image, default the largest.

    Raises:
        InputError: the package liffile is missing, there is no such image or plane, no plane is named of a stack, or
            the tiles of a scan were not merged.
    """

    def __init__(self, path: Path, reading: Reading = AS_STORED) -> None:
        try:
            import liffile
        except ImportError as error:
            raise InputError(f"{path}: LIF needs the package liffile (pip install warpzoo[lif])") from error
        self.path = path
        with liffile.LifFile(path) as file:
            images = [
                image for image in file.images if not image.is_flim and _lengths(image.xml_element).keys() >= {*"YX"}
            ]
            sizes = [_lengths(image.xml_element) for image in images]
            # of the tiles of a scan and the image merged of them, that image
            worth = [size["Y"] * size["X"] if size.get("tiles", 1) == 1 else 0 for size in sizes]
            number, note = chosen_series(path, [image.path for image in images], worth, reading.series)
            block = images[number].memory_block
            element, offset, room = images[number].xml_element, int(block.offset), int(block.size)
        lengths = sizes[number]
        if lengths.get("tiles", 1) > 1:
            raise InputError(
                f"image {path} is a scan of {lengths['tiles']} tiles that were not merged; merge them in LAS X "
                "(Mosaic Merge) or give the merged image as --moving_series or --fixed_series (of apply --series)"
            )
        channels = element.findall(f"{DESCRIPTION}/Channels/ChannelDescription")
        self.dtype = self._dtype(channels)
        self._channels = [self._array(element, channel, offset, room) for channel in channels]
        self._planes = reading.stack(path, {a: n for a, n in lengths.items() if a not in "YX"})
        self.levels = [(lengths["Y"], lengths["X"])]
        self.channels = len(channels)
        self.pixel_size = reading.size(_pixel_size(element))
        self.layout = Layout(
            "grey" if len(channels) == 1 else "channels", _names(element, channels), _colours(channels)
        )
        tags = [int(channel.get("ChannelTag", 0)) for channel in channels]
        if sorted(tags) == list(RGB_TAGS):
            self._channels = [self._channels[tags.index(tag)] for tag in RGB_TAGS]
            self.layout = Layout("rgb")
        self.notes = (note,) if note else ()

    def _dtype(self, channels: list[Element]) -> np.dtype[Any]:
        found = {(int(channel.get("DataType", 0)), -(-int(channel.get("Resolution", 8)) // 8)) for channel in channels}
        if len(found) != 1:
            raise InputError(f"image {self.path} has channels of different kinds of pixels; export them to OME-TIFF")
        real, size = found.pop()
        return np.dtype(f"<{'f' if real else 'u'}{size}").newbyteorder("=") if size != 3 else np.dtype(np.uint32)

    def _array(self, element: Element, channel: Element, offset: int, room: int) -> tuple[list[str], Array]:
        """Names of the axes and the pixels of a channel, by the distances in bytes that the file states."""
        axes = [d for d in element.findall(f"{DESCRIPTION}/Dimensions/DimensionDescription") if _length(d) > 1]
        shape, strides = [_length(d) for d in axes], [int(d.get("BytesInc", 0)) for d in axes]
        first = int(channel.get("BytesInc", 0))
        wanted = first + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + self.dtype.itemsize
        if wanted > room:
            raise InputError(f"image {self.path} is damaged or cut off: {wanted - room} of {wanted} bytes are missing")
        whole = np.memmap(self.path, np.uint8, "r", offset, (room,))
        pixels = np.ndarray(shape, self.dtype, whole, first, strides)
        return [_axis(d) for d in axes], pixels

    def _part(self, plane: Mapping[str, int], place: tuple[slice, slice]) -> Array:
        parts = []
        for axes, pixels in self._channels:
            flat = pixels[tuple(slice(None) if axis in "YX" else plane[axis] for axis in axes)]
            parts.append((flat if axes.index("Y") < axes.index("X") else flat.T)[place])
        return np.stack(parts, axis=2)

    def close(self) -> None:
        """See ``Slide``."""
        self._channels = []


def _axis(dimension: Element) -> str:
    number = int(dimension.get("DimID", 0))
    return AXES.get(number, f"axis {number}")


def _length(dimension: Element) -> int:
    return int(dimension.get("NumberOfElements", 1))


def _lengths(element: Element) -> dict[str, int]:
    """Elements along each axis of an image that has several."""
    found = element.findall(f"{DESCRIPTION}/Dimensions/DimensionDescription")
    return {_axis(dimension): _length(dimension) for dimension in found if _length(dimension) > 1}


def _pixel_size(element: Element) -> PixelSize | None:
    """(row, col) micrometres: ``Length`` leads from the first pixel's centre to the last one's."""
    steps = {}
    for dimension in element.findall(f"{DESCRIPTION}/Dimensions/DimensionDescription"):
        unit, elements = dimension.get("Unit", "").lower(), _length(dimension)
        if unit in TO_MICROMETRE and elements > 1:
            steps[_axis(dimension)] = abs(float(dimension.get("Length", 0))) * TO_MICROMETRE[unit] / (elements - 1)
    return (steps["Y"], steps["X"]) if "Y" in steps and "X" in steps else None


def _names(element: Element, channels: list[Element]) -> tuple[str, ...]:
    """Of the channels: the dyes, or how the user called them; the colours that they are shown in name none."""
    dyes = []
    for channel in channels:
        said = {entry.findtext("Key", ""): entry.findtext("Value", "") for entry in channel.findall("ChannelProperty")}
        dyes.append(said.get("DyeName", "").removeprefix("Leica/"))
    if any(dyes):
        return tuple(dyes)
    groups = [list(found.iter("WideFieldChannelInfo")) for found in element.iter("WideFieldChannelConfigurator")]
    # of each sequence its own channels, after the setting of the first
    for infos in (*groups, [info for group in groups[1:] for info in group]):
        names = [info.get("UserDefName") or info.get("FluoCubeName") or "" for info in infos]
        if len(names) == len(channels) and any(names):
            return tuple(names)
    return ()


def _colours(channels: list[Element]) -> tuple[tuple[int, int, int], ...]:
    found = [LOOKUPS.get(channel.get("LUTName", "").lower()) for channel in channels]
    known = tuple(colour for colour in found if colour is not None)
    return known if len(known) == len(channels) else ()
