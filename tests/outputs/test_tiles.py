"""Tiles made by regions are those of the image read whole, whatever its size, levels and pixels."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from custom_components.outputs import tiles
from custom_components.outputs.tiles import block_count, cut, estimate, make_layer, write_tiles
from custom_components.pairs import ArraySlide, open_slide
from custom_components.pairs.slides import block_mean

SIDE = 32  # of the tiles in these tests


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles of 32 pixels without loss, so that images of some hundred pixels have many levels."""
    from custom_components.slides import pyramid

    def png(picture, quality):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "png")
        return stream.getvalue()

    monkeypatch.setattr(pyramid, "TILE", SIDE)
    monkeypatch.setattr(tiles, "TILE", SIDE)
    monkeypatch.setattr(tiles, "jpeg", png)
    monkeypatch.setattr(tiles.cut, "__defaults__", (SIDE,))


def noise(height: int, width: int, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    return (np.random.default_rng(0).random((height, width, channels)) * 250).astype(dtype)


def put_together(root: Path, level: int, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros((*shape, 3), np.uint8)
    for file in (root / str(level)).iterdir():
        column, row = (int(part) for part in file.stem.split("_"))
        picture = np.asarray(Image.open(file))
        whole[row * SIDE :, column * SIDE :][: picture.shape[0], : picture.shape[1]] = picture
    return whole


@pytest.mark.parametrize("shape", [(300, 417), (33, 500), (20, 30), (128, 128), (129, 257)])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_level_is_the_image_halved(shape, threads, tmp_path):
    image, calls = noise(*shape), []
    layer = make_layer(ArraySlide(Path("a.png"), image), (1.0, 1.0), 1)
    shapes = write_tiles(layer, tmp_path / "t", threads, lambda: calls.append(1))
    assert max(shapes[0]) <= SIDE
    assert len(calls) == block_count(layer)
    assert sum(file.is_file() for file in (tmp_path / "t").rglob("*")) == layer.count == estimate([layer]).tiles
    for level in reversed(range(len(shapes))):
        np.testing.assert_array_equal(put_together(tmp_path / "t", level, shapes[level]), image)
        image = block_mean(image, 2)


@pytest.mark.parametrize("form", [{"tile": (64, 64)}, {"rowsperstrip": 17}])
def test_a_slide_read_by_regions_gives_the_same(form, tmp_path):
    image = noise(401, 533)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", compression="zlib", **form)
    with open_slide(tmp_path / "a.tif") as slide:
        shapes = write_tiles(make_layer(slide, (1.0, 1.0), 4), tmp_path / "t", 2)
    np.testing.assert_array_equal(put_together(tmp_path / "t", len(shapes) - 1, (101, 134)), block_mean(image, 4))


def test_a_slide_is_read_from_the_level_that_fits():
    """A level of a third of the size is of no use for halvings."""
    levels = [(768, 768), (384, 384), (256, 256), (96, 96)]
    slide = SimpleNamespace(levels=levels, channels=3, dtype=np.uint8)
    made = [make_layer(slide, (1.0, 1.0), wanted) for wanted in (1, 2, 3, 4, 8, 16)]
    assert [(layer.level, layer.factor) for layer in made] == [(0, 1), (1, 1), (1, 1), (1, 2), (3, 1), (3, 2)]
    assert [layer.scale[0] for layer in made] == [1, 2, 2, 4, 8, 16]


def test_a_coarse_image_is_shown_as_it_is():
    slide = ArraySlide(Path("a.png"), noise(100, 100))
    assert make_layer(slide, (3.0, 3.0), 1).scale == (3.0, 3.0)
    assert make_layer(slide, (3.0, 3.0), 8).scale == (6.0, 6.0)
    assert make_layer(slide, (2.0, 2.0), 8).factor == 4


def test_many_channels_are_shown_by_the_first_with_one_contrast_everywhere():
    """A ramp across the tiles stays a ramp: no tile is stretched by itself."""
    ramp = np.broadcast_to(np.linspace(0, 60000, 256), (64, 256)).astype(np.uint16)
    layer = make_layer(ArraySlide(Path("a.tif"), np.stack([ramp, ramp[:, ::-1]], axis=2)), (1.0, 1.0), 1)
    shown = np.concatenate([layer.read(0, left, 64, 64) for left in range(0, 256, 64)], axis=1)
    np.testing.assert_allclose(shown[10, :, 0], np.linspace(0, 255, 256), atol=3)


def test_no_region_larger_than_a_block_is_read(monkeypatch, tmp_path):
    """Memory is bounded by the blocks, however much is averaged."""
    slide = ArraySlide(Path("a.png"), noise(3000, 2500))
    sizes, read = [], slide.read
    monkeypatch.setattr(slide, "read", lambda *given: sizes.append(given[3] * given[4]) or read(*given))
    write_tiles(make_layer(slide, (1.0, 1.0), 1), tmp_path / "a")
    assert max(sizes) <= (SIDE * 4) ** 2
    write_tiles(make_layer(slide, (1.0, 1.0), 64), tmp_path / "b")
    assert max(sizes) <= 2048**2


def test_cut_gives_the_whole_picture():
    image = noise(100, 71)
    whole = np.zeros_like(image)
    for row, column, picture in cut(image, 16):
        whole[row * 16 :, column * 16 :][: picture.shape[0], : picture.shape[1]] = picture
    np.testing.assert_array_equal(whole, image)
