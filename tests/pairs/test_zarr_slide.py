"""OME-Zarr of both versions, read by regions and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import open_slide, read_image, select_pairs
from custom_components.pairs.reading import Reading

zarr = pytest.importorskip("zarr", reason="the package zarr is not installed")
DATA = np.random.default_rng(0).integers(0, 60000, (2, 3, 70, 91), dtype=np.uint16)  # C, Z


def write(folder: Path, data: np.ndarray, axes: str, version: str = "0.4", names: tuple[str, ...] = ()) -> Path:
    """Two levels; micrometres of 0.5 x 0.25 at the first."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=2 if version == "0.4" else 3)
    levels = [data, data[..., ::2, ::2]]
    datasets = []
    for number, level in enumerate(levels):
        group.create_array(str(number), data=np.ascontiguousarray(level), chunks=(*(1,) * (level.ndim - 2), 32, 32))
        scale = [1.0] * (level.ndim - 2) + [0.5 * 2**number, 0.25 * 2**number]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    kinds = {"c": "channel", "z": "space", "y": "space", "x": "space", "t": "time"}
    stated = [{"name": a, "type": kinds[a], **({"unit": "micrometer"} if a in "yx" else {})} for a in axes]
    own: dict[str, Any] = {"multiscales": [{"version": version, "axes": stated, "datasets": datasets}]}
    if names:
        own["omero"] = {"channels": [{"label": name, "color": "00FF0A"} for name in names]}
    group.attrs.update(own if version == "0.4" else {"ome": {"version": version, **own}})
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_names_and_pixel_size(tmp_path, version) -> None:
    file = write(tmp_path / "a.ome.zarr", DATA[:, 0], "cyx", version, ("CD3", "DAPI"))
    image = read_image(file)
    np.testing.assert_array_equal(image.numpy(), DATA[:, 0])
    assert image.meta["dtype"] == "uint16"
    assert image.meta["pixel_size"] == (0.5, 0.25)
    assert image.meta["layout"].names == ("CD3", "DAPI")
    assert image.meta["layout"].colours == ((0, 255, 10),) * 2
    assert image.meta["channel"] == 1
    with open_slide(file) as slide:
        assert slide.levels == [(70, 91), (35, 46)]
        np.testing.assert_array_equal(slide.read(1, 3, 4, 10, 12), np.moveaxis(DATA[:, 0, ::2, ::2], 0, -1)[3:13, 4:16])


def test_a_stack_needs_a_plane(tmp_path) -> None:
    file = write(tmp_path / "a.zarr", DATA, "czyx")
    with pytest.raises(InputError, match=r"a\.zarr is a stack of 3 z, .*--moving_plane or --fixed_plane"):
        read_image(file)
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane="max")).numpy(), DATA.max(axis=1))
    np.testing.assert_array_equal(read_image(file, reading=Reading(plane=1)).numpy(), DATA[:, 1])
    with pytest.raises(InputError, match="has planes 0 to 2, asked for 3"):
        read_image(file, reading=Reading(plane=3))


def test_colours_are_those_of_channels_called_so(tmp_path) -> None:
    data = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    named = write(tmp_path / "a.zarr", data, "cyx", "0.5", ("Red", "Green", "Blue"))
    assert read_image(named).meta["layout"].kind == "rgb"
    assert read_image(write(tmp_path / "b.zarr", data, "cyx")).meta["layout"].kind == "channels"


def test_an_image_inside_is_chosen_by_its_name(tmp_path) -> None:
    outer = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    outer.create_group("labels")
    write(tmp_path / "a.zarr" / "tissue", DATA[:, 0], "cyx", "0.5")
    with pytest.raises(InputError, match="has no multiscale image; inside are labels, tissue"):
        read_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr", reading=Reading(series="tissue")).numpy(), DATA[:, 0])


def test_a_folder_that_is_none_is_refused_and_a_pair_takes_one(tmp_path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match=r"a\.zarr"):
        read_image(tmp_path / "a.zarr")
    file = write(tmp_path / "b.ome.zarr", DATA[:, 0], "cyx")
    (pair,) = select_pairs(moving=file, fixed=file)
    assert pair.moving == file
