from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.pairs import open_slide
from custom_components.pairs.layout import Layout
from custom_components.pairs.slides import block_mean
from custom_components.slides.pyramid import BLOCK, TILE, PyramidWriter, level_shapes


def picture(height: int, width: int, channels: int, dtype: str) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(0).random((height, width, channels))
    return (gaussian_filter(noise, (4, 4, 0)) * 240).astype(dtype)


def written(path: Path, image: np.ndarray[Any, Any], **options: Any) -> Path:
    writer = PyramidWriter(path, image.shape[:2], image.shape[2], image.dtype, **options)
    for row, column in writer.missing():
        writer.put(row, column, image[row : row + BLOCK, column : column + BLOCK])
    writer.finish()
    return path


@pytest.mark.parametrize(
    ("channels", "dtype", "compression", "name"),
    [
        (3, "uint8", "deflate", "a.ome.tif"), (3, "uint8", "none", "a.tif"), (1, "uint8", "deflate", "a.ome.tif"),
        (4, "uint16", "deflate", "a.ome.tif"), (2, "float32", "none", "a.ome.tif"), (1, "int32", "deflate", "a.tif"),
    ],
)  # fmt: skip
def test_lossless_levels_are_means(tmp_path: Path, channels: int, dtype: str, compression: str, name: str) -> None:
    image = picture(BLOCK + 301, BLOCK + 77, channels, dtype)
    file = written(tmp_path / name, image, compression=compression)
    with open_slide(file) as slide:
        assert slide.levels == level_shapes(*image.shape[:2])
        assert slide.channels == channels
        expected = image
        for level, (height, width) in enumerate(slide.levels):
            np.testing.assert_array_equal(slide.read(level, 0, 0, height, width), expected)
            expected = block_mean(expected, 2)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_labels_are_never_mixed(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([3, 200], (TILE + 9, TILE + 9, 1)).astype(np.uint8)
    file = written(tmp_path / "labels.tif", labels, compression="deflate", nearest=True)
    np.testing.assert_array_equal(tifffile.TiffFile(file).series[0].levels[1].asarray(), labels[::2, ::2, 0])


def test_other_programs_see_levels_pixel_size_and_colours(tmp_path: Path) -> None:
    image = picture(1100, 1300, 3, "uint8")
    file = written(tmp_path / "a.ome.tif", image, compression="jpeg", quality=95, pixel_size=(0.25, 0.5))
    sizes = [(width, height) for height, width in level_shapes(1100, 1300)]
    for slide in (openslide.OpenSlide(str(file)), tiffslide.TiffSlide(file)):
        assert list(slide.level_dimensions) == sizes
        region = np.asarray(slide.read_region((500, 600), 0, (300, 200)))[..., :3].astype(int)
        assert np.abs(region - image[600:800, 500:800]).mean() < 2
        vendor = "openslide" if isinstance(slide, openslide.OpenSlide) else "tiffslide"
        assert float(slide.properties[f"{vendor}.mpp-x"]) == pytest.approx(0.5)
        assert float(slide.properties[f"{vendor}.mpp-y"]) == pytest.approx(0.25)
    with tifffile.TiffFile(file) as tiff:
        assert tiff.is_ome
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.5, 0.25)
        assert [level.shape[:2] for level in tiff.series[0].levels] == level_shapes(1100, 1300)


def test_channels_keep_their_names(tmp_path: Path) -> None:
    file = written(tmp_path / "a.ome.tif", picture(64, 64, 2, "uint16"), layout=Layout(names=("DAPI", "CD3")))
    channels = tifffile.xml2dict(tifffile.TiffFile(file).ome_metadata)["OME"]["Image"]["Pixels"]["Channel"]
    assert [channel["Name"] for channel in channels] == ["DAPI", "CD3"]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    image = picture(BLOCK + 10, 2 * BLOCK, 1, "uint8")
    first = PyramidWriter(tmp_path / "a.tif", image.shape[:2], 1, "uint8", recipe="field 1")
    first.put(0, BLOCK, image[:BLOCK, BLOCK:])
    with pytest.raises(InputError, match="3 of 4 blocks are missing"):
        first.finish()
    assert not (tmp_path / "a.tif").exists()
    again = PyramidWriter(tmp_path / "a.tif", image.shape[:2], 1, "uint8", recipe="field 1")
    assert again.missing() == [(0, 0), (BLOCK, 0), (BLOCK, BLOCK)]
    other = PyramidWriter(tmp_path / "a.tif", image.shape[:2], 1, "uint8", recipe="field 2")
    assert len(other.missing()) == 4


def test_wrong_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compression is jpeg, deflate, lzw, zstd, jpeg2000, none"):
        PyramidWriter(tmp_path / "a.tif", (64, 64), 1, "uint8", "zip")
    with pytest.raises(InputError, match="JPEG holds 8-bit pixels"):
        PyramidWriter(tmp_path / "a.tif", (64, 64), 1, "uint16", "jpeg")
    with pytest.raises(InputError, match="can't be written"):
        PyramidWriter(tmp_path / "none" / "a.tif", (64, 64), 1, "uint8")
