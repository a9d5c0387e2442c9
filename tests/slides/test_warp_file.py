from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.fields import Grid, displacement_image, grid_change, resample, smooth
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import Slide, open_slide
from custom_components.pairs.layout import Layout
from custom_components.pairs.reading import Reading
from custom_components.slides import slide_warp
from custom_components.slides import warp_file as module
from custom_components.slides.pyramid import BLOCK, PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, check_room, estimate, warp_blocks
from custom_components.slides.warp_file import slide_compression, source_level, warp_slide_file

SOURCE, TARGET, FIELD = (BLOCK + 200, BLOCK + 90), (BLOCK + 150, BLOCK + 260), (40, 45)
OF_SOURCE, OF_TARGET = Grid.of_pixels(SOURCE), Grid.of_pixels(TARGET)
PLAIN = OF_SOURCE.matrix


def slide_file(path: Path, channels: int = 3, dtype: str = "uint8", labels: bool = False) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(0).random((*SOURCE, channels))
    image = (gaussian_filter(noise, (6, 6, 0), mode="wrap") * 250).astype(dtype)
    if labels:
        image = (image > np.median(image)).astype(dtype) * 7
    writer = PyramidWriter(path, SOURCE, channels, dtype, "deflate", nearest=labels)
    for row, column in writer.missing():
        writer.put(row, column, image[row : row + BLOCK, column : column + BLOCK])
    writer.finish()
    return image


def bent() -> Any:
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 2, *FIELD))).float()
    grids = PLAIN @ grid_change(FIELD, TARGET), PLAIN @ grid_change(FIELD, SOURCE)
    return displacement_image(smooth(noise, 3.0) * 8, *grids)


def carried(folder: Path, displacement: Any, **options: Any) -> np.ndarray[Any, Any]:
    warp_slide_file(
        folder / "source.tif", folder / "out.ome.tif", displacement, OF_SOURCE, OF_TARGET,
        **{"compression": "deflate", "threads": 2, **options},
    )  # fmt: skip
    with open_slide(folder / "out.ome.tif") as slide:
        return slide.read(0, 0, 0, *slide.levels[0])


def inner(displacement: Any, margin: float = 2.0) -> np.ndarray[Any, Any]:
    """Target pixels whose source lies well inside: OpenCV and ITK differ on the rim."""
    found = FieldBlocks(displacement, PLAIN, PLAIN)(0, 0, *TARGET)
    rows, columns = found.rows + found.origin[0], found.columns + found.origin[1]
    inside = (rows > margin) & (rows < SOURCE[0] - 1 - margin)
    return inside & (columns > margin) & (columns < SOURCE[1] - 1 - margin)


@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (1, "uint16"), (6, "float32")])
def test_blocks_are_what_itk_resamples_at_once(tmp_path: Path, channels: int, dtype: str) -> None:
    image, displacement = slide_file(tmp_path / "source.tif", channels, dtype), bent()
    found = carried(tmp_path, displacement)
    whole = resample(np.moveaxis(image, -1, 0), PLAIN, displacement, TARGET, PLAIN)
    assert found.shape == (*TARGET, channels)
    assert found.dtype == image.dtype
    # OpenCV interpolates at 1/32 of a pixel
    difference = np.abs(np.moveaxis(found, -1, 0).astype(float) - whole)[:, inner(displacement)]
    assert difference.max() <= 3
    assert difference.mean() < 0.2


def test_labels_are_what_itk_picks(tmp_path: Path) -> None:
    labels, displacement = slide_file(tmp_path / "source.tif", 1, "int32", labels=True), bent()
    found = carried(tmp_path, displacement, order=0)
    whole = resample(np.moveaxis(labels, -1, 0), PLAIN, displacement, TARGET, PLAIN, order=0)[0]
    assert set(np.unique(found)) <= {0, 7}
    assert (found[..., 0] == whole)[inner(displacement)].mean() > 0.9999


def test_a_higher_level_is_the_picture_at_half_the_size(tmp_path: Path) -> None:
    slide_file(tmp_path / "source.tif")
    displacement = bent()
    full = carried(tmp_path, displacement).astype(float)
    half = carried(tmp_path, displacement, level=1).astype(float)
    assert half.shape == (-(-TARGET[0] // 2), -(-TARGET[1] // 2), 3)
    height, width = (side // 2 * 2 for side in TARGET)
    mean = full[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    sure = inner(displacement, 8)[:height:2, :width:2]
    assert np.abs(half[: height // 2, : width // 2] - mean)[sure].mean() < 1.0


def test_what_the_source_does_not_reach_is_background(tmp_path: Path) -> None:
    image = slide_file(tmp_path / "source.tif")
    away = torch.full((1, 2, *FIELD), 1000.0)
    grids = PLAIN @ grid_change(FIELD, TARGET), PLAIN @ grid_change(FIELD, SOURCE)
    found = carried(tmp_path, displacement_image(away, *grids))
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (found == found[0, 0]).all()
    assert np.abs(found[0, 0] - np.median(rim, axis=0)).max() < 10


def test_a_stopped_warp_goes_on_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slide_file(tmp_path / "source.tif")
    displacement = bent()
    once = carried(tmp_path, displacement)
    (tmp_path / "out.ome.tif").unlink()
    calls = 0

    def failing(warp: SlideWarp, writer: PyramidWriter, threads: int) -> Any:
        for place in warp_blocks(warp, writer, 1):
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            yield place

    monkeypatch.setattr(module, "warp_blocks", failing)
    with pytest.raises(KeyboardInterrupt):
        carried(tmp_path, displacement)
    assert not (tmp_path / "out.ome.tif").exists()
    monkeypatch.setattr(module, "warp_blocks", warp_blocks)
    np.testing.assert_array_equal(carried(tmp_path, displacement), once)
    assert "resuming after 3 of 4 blocks" in capsys.readouterr().out


def stored_as(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    """Let slides say how they are stored."""

    def opened(path: Path, reading: Reading) -> Slide:
        slide = open_slide(path, reading)
        slide.layout = layout  # type: ignore[attr-defined]
        return slide

    monkeypatch.setattr(module, "open_slide", opened)


@pytest.mark.parametrize(("dtype", "compression"), [("uint8", "zlib"), ("uint8", "jpeg"), ("uint16", "lzw")])
def test_three_channels_stay_channels_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, compression: str
) -> None:
    names, colours = ("DAPI", "CD3", "CD8"), ((0, 0, 255), (0, 255, 0), (255, 0, 0))
    slide_file(tmp_path / "source.tif", 3, dtype)
    stored_as(monkeypatch, Layout("channels", names, colours, compression, (512, 512), 3))
    carried(tmp_path, bent(), compression=None)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        page, series = tiff.pages.first, tiff.series[0]
        assert (page.samplesperpixel, page.photometric) == (1, tifffile.PHOTOMETRIC.MINISBLACK)
        assert (page.compression == tifffile.COMPRESSION.JPEG) == (compression == "jpeg")
        assert (series.axes, series.dtype, len(series.levels)) == ("CYX", dtype, 3)
        channels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
        assert tuple(channel["Name"] for channel in channels) == names
        assert [channel["Color"] for channel in channels] == [65535, 16711935, -16776961]


def test_colour_that_was_stored_without_loss_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide_file(tmp_path / "source.tif")
    exact = carried(tmp_path, bent())
    stored_as(monkeypatch, Layout("rgb", compression="lzw", tile=(256, 256), levels=2, icc=b"profile"))
    np.testing.assert_array_equal(carried(tmp_path, bent(), compression=None), exact)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        page = tiff.pages.first
        assert page.tags.valueof("InterColorProfile") == b"profile"
        assert (page.compression, page.predictor) == (tifffile.COMPRESSION.ADOBE_DEFLATE, 2)


def test_the_compression_is_of_the_kind_that_the_source_has() -> None:
    def chosen(kind: str, compression: str, dtype: str = "uint8", nearest: bool = False) -> str:
        return slide_compression(Layout(kind, compression=compression), 3, dtype, nearest)

    assert [chosen("rgb", given) for given in ("", "jpeg", "jpeg2000")] == ["jpeg"] * 3
    assert [chosen("rgb", given) for given in ("lzw", "zlib", "none", "zstd")] == ["deflate"] * 3 + ["zstd"]
    assert [chosen("channels", given) for given in ("", "jpeg", "jpeg2000")] == ["deflate", "jpeg", "jpeg2000"]
    assert [chosen("rgb", given, "uint16") for given in ("", "jpeg", "jpeg2000")] == ["deflate"] * 3
    assert [chosen("rgb", given, nearest=True) for given in ("", "jpeg", "jpeg2000")] == ["deflate"] * 3
    assert slide_compression(None, 3, "uint8", False) == "jpeg"
    assert slide_compression(None, 1, "uint8", False) == "deflate"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (2, "uint16")])
def test_ome_zarr_holds_what_the_tiff_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, channels: int, dtype: str
) -> None:
    zarr = pytest.importorskip("zarr")
    slide_file(tmp_path / "source.tif", channels, dtype)
    if channels == 2:
        stored_as(monkeypatch, Layout("channels", ("DAPI", "CD3"), ((0, 0, 255), (0, 255, 0))))
    displacement, output = bent(), tmp_path / "out.ome.zarr"
    carried(tmp_path, displacement)
    calls = iter(range(9))

    def failing(*given: Any) -> Any:
        for place in warp_blocks(*given):
            if next(calls) == 1:
                raise KeyboardInterrupt
            yield place

    options: dict[str, Any] = {"pixel_size": (0.25, 0.5), "threads": 2, "zarr_version": version}
    grids = tmp_path / "source.tif", output, displacement, OF_SOURCE, OF_TARGET
    with monkeypatch.context() as patch:
        patch.setattr(module, "warp_blocks", failing)
        with pytest.raises(KeyboardInterrupt):
            warp_slide_file(*grids, **options)
    assert not output.exists()
    warp_slide_file(*grids, **options)  # goes on
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.ome.tif", "out.ome.zarr", "source.tif"]
    group = zarr.open_group(str(output), mode="r")
    stated = group.attrs["ome"] if version == "0.5" else group.attrs
    with open_slide(tmp_path / "out.ome.tif") as slide:
        assert len(stated["multiscales"][0]["datasets"]) == len(slide.levels) == 3
        for level, dataset in enumerate(stated["multiscales"][0]["datasets"]):
            expected = np.moveaxis(slide.read(level, 0, 0, *slide.levels[level]), -1, 0)
            np.testing.assert_array_equal(group[dataset["path"]][...], expected)
            scale = dataset["coordinateTransformations"][0]["scale"]
            assert scale == [1.0, 0.25 * 2**level, 0.5 * 2**level]
    labels = [channel["label"] for channel in stated["omero"]["channels"]]
    assert labels == (["DAPI", "CD3"] if channels == 2 else ["Red", "Green", "Blue"])


def test_no_room_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide_file(tmp_path / "source.tif")
    with open_slide(tmp_path / "source.tif") as slide:
        warp = SlideWarp(slide, 0, FieldBlocks(bent(), PLAIN, PLAIN))
        needed = estimate(warp, PyramidWriter(tmp_path / "o.tif", TARGET, 3, "uint8"), 2)
    assert needed.blocks == 3
    assert needed.pixels == TARGET[0] * TARGET[1]
    check_room(needed, tmp_path)
    monkeypatch.setattr(slide_warp.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100.0))
    with pytest.raises(InputError, match=r"GB of disk, 0\.0 GB are free; give --output on another disk"):
        check_room(needed, tmp_path)


def test_the_level_read_is_no_coarser_than_what_is_written(tmp_path: Path) -> None:
    slide_file(tmp_path / "source.tif")
    with open_slide(tmp_path / "source.tif") as slide:
        assert len(slide.levels) == 3
        found = [source_level(slide, OF_SOURCE, OF_TARGET.in_unit("pixel", f)) for f in (0.5, 1, 1.9, 2, 3.9, 4, 100)]
    assert found == [0, 0, 0, 1, 1, 2, 2]


def test_wrong_options_are_named(tmp_path: Path) -> None:
    slide_file(tmp_path / "source.tif", 1, "int32")
    with pytest.raises(InputError, match="int32 pixels can't be interpolated; give --order 0"):
        carried(tmp_path, bent())
    with pytest.raises(InputError, match="order 0"):
        carried(tmp_path, bent(), order=3)
    with pytest.raises(InputError, match="--level is 0 or more"):
        carried(tmp_path, bent(), level=-1)
    with pytest.raises(InputError, match="is 1114 x 1224 pixels, but the registered one has 10 x 10"):
        warp_slide_file(tmp_path / "source.tif", tmp_path / "o.tif", bent(), Grid.of_pixels((10, 10)), OF_TARGET)
    with pytest.raises(InputError, match="OME-Zarr is always written with zstd, without loss"):
        warp_slide_file(
            tmp_path / "source.tif", tmp_path / "o.ome.zarr", bent(), OF_SOURCE, OF_TARGET, compression="jpeg"
        )
    with pytest.raises(InputError, match=r"written as \.ome\.tif"):
        warp_slide_file(tmp_path / "source.tif", tmp_path / "o.png", bent(), OF_SOURCE, OF_TARGET)
