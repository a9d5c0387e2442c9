"""OME-Zarr 0.4 and 0.5: how an image is stored as a folder of compressed chunks, with the optional package zarr."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.pairs.atomic import IsOurs, atomic_folder
from custom_components.pairs.layout import Layout
from custom_components.pairs.tiff_form import TILE

VERSIONS = ("0.4", "0.5")
ZARR_FORMATS = {"0.4": 2, "0.5": 3}
MARKS = (".zgroup", ".zattrs", "zarr.json")  # one of them is in every OME-Zarr
RGB_NAMES, RGB_COLOURS = ("Red", "Green", "Blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
# of channels that have names but no colours, since OME asks for both
PALETTE = (
    (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255),
)  # fmt: skip


def is_zarr_name(path: str | Path) -> bool:
    """Whether a name is that of an OME-Zarr."""
    return Path(path).name.lower().endswith(".zarr")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr, which may be replaced as a whole."""
    return folder.is_dir() and any((folder / mark).is_file() for mark in MARKS)


def kept_version(source: Path) -> str:
    """The version of OME-Zarr that a warped image is written in: 0.5 where its source is of that, else 0.4."""
    return "0.5" if (source / "zarr.json").is_file() else "0.4"


def load_zarr(path: Path) -> Any:
    """The package, which is optional.

    Raises:
        InputError: it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"{path}: OME-Zarr needs the package zarr; pip install 'warpzoo[zarr]'") from error
    return zarr


def create_levels(
    folder: Path, shapes: Sequence[tuple[int, ...]], dtype: Any, version: str, target: Path | None = None
) -> list[Any]:
    """The arrays of a new OME-Zarr, largest first, named "0", "1", ...; those that are there already are opened.

    Args:
        folder: of the Zarr.
        shapes: (C, *spatial) of each.
        dtype: of the pixels.
        version: of OME-Zarr, one of ``VERSIONS``.
        target: the final name, for messages.

    Raises:
        InputError: no such version, or the package is missing.
    """
    if version not in VERSIONS:
        raise InputError(f"{target or folder}: OME-Zarr is written in version {' or '.join(VERSIONS)}, got '{version}'")
    zarr, dtype = load_zarr(target or folder), np.dtype(dtype)
    group = zarr.open_group(str(folder), mode="a", zarr_format=ZARR_FORMATS[version])
    shuffle = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    options: dict[str, Any]
    if version == "0.4":
        from numcodecs import Blosc

        codec: Any = Blosc("zstd", 5, Blosc.BITSHUFFLE if shuffle == "bitshuffle" else Blosc.SHUFFLE)
        options = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    else:
        codec = zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle=shuffle, typesize=dtype.itemsize)
        options = {"dimension_names": axis_names(len(shapes[0]))}
    found = []
    for level, shape in enumerate(shapes):
        chunks = (*(1,) * (len(shape) - 2), *(min(TILE, side) for side in shape[-2:]))
        if str(level) in group:
            found.append(group[str(level)])
        else:
            made = group.create_array(
                str(level), shape=shape, chunks=chunks, dtype=dtype, compressors=codec, fill_value=0, **options
            )
            found.append(made)
    return found


def axis_names(count: int) -> list[str]:
    """Of an array of so many axes."""
    return ["c", *"zyx"[4 - count :]]


def write_attributes(
    folder: Path, levels: Sequence[Any], layout: Layout, spacing: Sequence[float] | None, unit: str, version: str,
    nearest: bool, name: str,
) -> None:  # fmt: skip
    """State what the arrays are: axes, the size of a pixel on each level, names and colours of the channels.

    Args:
        folder: of the Zarr.
        levels: its arrays, whose pixels are written, as the range of the coarsest is stated for viewers.
        layout: that fits the pixels.
        spacing: of a pixel of the full resolution along the spatial axes, or None where it is not known.
        unit: of that: "micrometer" or "millimeter".
        version: of OME-Zarr.
        nearest: levels were made of every second pixel instead of means.
        name: of the image.
    """
    names = axis_names(levels[0].ndim)
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space"} | ({"unit": unit} if spacing else {}) for axis in names[1:]]
    steps = np.asarray(spacing or (1.0,) * (len(names) - 1), dtype=float)
    datasets = []
    for level in range(len(levels)):
        scale = steps * (1 << level)
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0, *scale.tolist()]}]
        if level and not nearest:  # the first pixel is the mean of several, so its centre lies among theirs
            shift = (scale - steps) / 2
            changes.append({"type": "translation", "translation": [0.0, *shift.tolist()]})
        datasets.append({"path": str(level), "coordinateTransformations": changes})
    multiscale = {"name": name, "axes": axes, "datasets": datasets, "type": "nearest" if nearest else "mean"}
    attributes: dict[str, Any] = {"multiscales": [multiscale]}
    if layout.kind == "rgb" or layout.names or layout.colours:
        attributes["omero"] = omero(layout, levels[-1])
    if version == "0.4":
        multiscale["version"] = version
    else:
        attributes = {"ome": {"version": version, **attributes}}
    group = load_zarr(folder).open_group(str(folder), mode="a", zarr_format=ZARR_FORMATS[version])
    group.attrs.update(attributes)


def omero(layout: Layout, coarsest: Any) -> dict[str, Any]:
    """The block that names and colours the channels; those of RGB are Red, Green and Blue."""
    rgb, count = layout.kind == "rgb", coarsest.shape[0]
    names = RGB_NAMES if rgb else layout.names or [f"Channel {number}" for number in range(count)]
    colours = RGB_COLOURS if rgb else layout.colours or [PALETTE[k % len(PALETTE)] for k in range(count)]
    kind, channels = np.dtype(coarsest.dtype), []
    for number, (label, colour) in enumerate(zip(names, colours, strict=True)):
        pixels = np.asarray(coarsest[number])
        low, high = (0.0, float(np.iinfo(kind).max)) if rgb and kind.kind in "ui" else (
            float(pixels.min()), float(pixels.max())
        )  # fmt: skip
        bounds = np.iinfo(kind) if kind.kind in "ui" else None
        window = {"start": low, "end": high, "min": float(bounds.min) if bounds else low}
        window["max"] = float(bounds.max) if bounds else high
        channels.append(
            {"label": label, "color": "{:02X}{:02X}{:02X}".format(*colour), "active": True, "window": window}
        )
    return {"channels": channels, "rdefs": {"model": "color"}}


def publish_zarr(store: Path, target: Path) -> None:
    """Move what is in ``store`` to ``target``, in place of an earlier Zarr there.

    Raises:
        InputError: a folder of that name is no Zarr, or it can't be written.
    """
    try:
        with atomic_folder(target, _recognise) as partial:
            for entry in store.iterdir():
                shutil.move(entry, partial / entry.name)
    except OSError as error:
        raise InputError(f"{target}: can't be written ({error.strerror or error})") from error


def _recognise(folder: Path) -> IsOurs:
    if not is_zarr(folder):
        raise InputError(f"{folder} is a folder but no OME-Zarr, and is not replaced; name another one")
    return lambda name: True


def write_zarr(
    path: Path, levels: Sequence[Array], layout: Layout, spacing: Sequence[float] | None, unit: str, version: str,
    nearest: bool,
) -> None:  # fmt: skip
    """Write an image whose levels are in memory, whole or not at all.

    Args:
        path: of the Zarr.
        levels: (C, *spatial) each.
        layout: see ``write_attributes``, as all others.
        spacing: see there.
        unit: see there.
        version: see there.
        nearest: see there.
    """
    load_zarr(path)
    with atomic_folder(path, _recognise) as partial:
        arrays = create_levels(partial, [level.shape for level in levels], levels[0].dtype, version, path)
        for made, level in zip(arrays, levels, strict=True):
            made[...] = level
        write_attributes(partial, arrays, layout, spacing, unit, version, nearest, path.name)
