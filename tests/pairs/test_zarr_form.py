"""OME-Zarr as the package zarr reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import write_image
from custom_components.pairs.layout import Layout
from custom_components.pairs.overwriting import check_output_file
from custom_components.pairs.slides import block_mean
from custom_components.pairs.zarr_form import VERSIONS, kept_version

zarr = pytest.importorskip("zarr")
each_version = pytest.mark.parametrize("version", VERSIONS)


def opened(path: Path, version: str) -> tuple[Any, dict[str, Any]]:
    """The group and what OME states of it."""
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == {"0.4": 2, "0.5": 3}[version]
    attributes = dict(group.attrs)
    if version == "0.5":
        assert attributes["ome"]["version"] == "0.5"
        return group, attributes["ome"]
    assert attributes["multiscales"][0]["version"] == "0.4"
    return group, attributes


@each_version
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_levels_names_colours_and_scales(tmp_path: Path, version: str, dtype: str) -> None:
    pixels = (np.random.default_rng(0).random((2, 1100, 701)) * 200).astype(dtype)
    layout = Layout("channels", ("DAPI", "CD3"), ((0, 0, 255), (255, 128, 0)))
    file = tmp_path / "a.ome.zarr"
    write_image(file, pixels, pixel_size=(0.25, 0.5), layout=layout, zarr_version=version)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]
    group, stated = opened(file, version)
    multiscale = stated["multiscales"][0]
    assert [(axis["name"], axis["type"], axis.get("unit")) for axis in multiscale["axes"]] == [
        ("c", "channel", None), ("y", "space", "micrometer"), ("x", "space", "micrometer")
    ]  # fmt: skip
    assert [dataset["path"] for dataset in multiscale["datasets"]] == ["0", "1", "2"]
    expected = np.moveaxis(pixels, 0, -1)
    for level, dataset in enumerate(multiscale["datasets"]):
        found = group[dataset["path"]]
        assert found.dtype == dtype
        assert found.chunks == (1, *(min(512, side) for side in found.shape[1:]))
        np.testing.assert_array_equal(found[...], np.moveaxis(expected, -1, 0))
        expected = block_mean(expected, 2)
        scale, *more = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [1.0, 0.25 * 2**level, 0.5 * 2**level]}
        shifts = [0.0, 0.25 * (2**level - 1) / 2, 0.5 * (2**level - 1) / 2]
        assert more == ([{"type": "translation", "translation": shifts}] if level else [])
    channels = stated["omero"]["channels"]
    assert [(channel["label"], channel["color"]) for channel in channels] == [("DAPI", "0000FF"), ("CD3", "FF8000")]
    assert all(channel["window"]["start"] <= channel["window"]["end"] for channel in channels)


@each_version
def test_rgb_has_its_colours_and_nameless_channels_have_none(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 60, 70), np.uint8)
    write_image(tmp_path / "a.ome.zarr", pixels, layout=Layout("rgb", compression="jpeg"), zarr_version=version)
    group, stated = opened(tmp_path / "a.ome.zarr", version)
    np.testing.assert_array_equal(group["0"][...], pixels)
    assert "unit" not in stated["multiscales"][0]["axes"][1]
    assert [(c["label"], c["color"]) for c in stated["omero"]["channels"]] == [
        ("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF")
    ]  # fmt: skip
    write_image(tmp_path / "b.ome.zarr", pixels, layout=Layout("channels"), zarr_version=version)
    assert "omero" not in opened(tmp_path / "b.ome.zarr", version)[1]


@each_version
def test_volumes_have_their_own_spacing(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 5, 60, 70), np.uint8)
    matrix = np.diag([3.0, 0.5, 0.25, 1.0])[[2, 1, 0, 3]]  # of (slice, row, column) to x, y, z
    write_image(tmp_path / "a.ome.zarr", pixels, matrix, zarr_version=version)
    group, stated = opened(tmp_path / "a.ome.zarr", version)
    np.testing.assert_array_equal(group["0"][...], pixels)
    multiscale = stated["multiscales"][0]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "z", "y", "x"]
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 3.0, 0.5, 0.25]


def test_labels_are_never_mixed(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([3, 200], (1, 700, 600)).astype(np.uint8)
    write_image(tmp_path / "a.ome.zarr", labels, nearest=True)
    group, stated = opened(tmp_path / "a.ome.zarr", "0.4")
    np.testing.assert_array_equal(group["1"][...], labels[:, ::2, ::2])
    assert len(stated["multiscales"][0]["datasets"][1]["coordinateTransformations"]) == 1


def test_a_zarr_is_replaced_as_a_whole_and_no_other_folder(tmp_path: Path) -> None:
    file, other = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    write_image(file, np.zeros((1, 700, 600), np.uint8), zarr_version="0.5")
    assert kept_version(file) == "0.5"
    with pytest.raises(InputError, match="exists already; name another file, or replace it with --overwrite"):
        check_output_file(file, [])
    check_output_file(file, [], overwrite=True)
    write_image(file, np.ones((1, 60, 70), np.uint8))
    assert kept_version(file) == "0.4"
    assert opened(file, "0.4")[0]["0"].shape == (1, 60, 70)
    assert not (file / "1").exists()
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_output_file(other, [], overwrite=True)
    with pytest.raises(InputError, match=r"b\.ome\.zarr is a folder but no OME-Zarr, and is not replaced"):
        write_image(other, np.ones((1, 60, 70), np.uint8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ome.zarr", "b.ome.zarr"]


def test_a_missing_package_and_a_wrong_version_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"OME-Zarr is written in version 0\.4 or 0\.5, got '0\.6'"):
        write_image(tmp_path / "a.ome.zarr", np.zeros((1, 60, 70), np.uint8), zarr_version="0.6")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"a\.ome\.zarr: OME-Zarr needs the package zarr; pip install 'warpzoo\[zarr"):
        write_image(tmp_path / "a.ome.zarr", np.zeros((1, 60, 70), np.uint8))
    assert list(tmp_path.iterdir()) == []
