from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.pairs import is_large, level_for, open_slide, read_image, slides
from custom_components.pairs.slides import ScannerSlide, TiffSlide, block_mean, read_shrunk
from custom_components.pairs.tiff_pages import LRUCache


def picture(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> npt.NDArray[np.generic]:
    rng = np.random.default_rng(seed)
    return (rng.random(shape) * 250).astype(dtype)


FORMS = {
    "tiled": {"tile": (64, 64), "photometric": "rgb"},
    "tiled and compressed": {"tile": (64, 80), "photometric": "rgb", "compression": "zlib"},
    "strips": {"photometric": "rgb", "compression": "zlib", "rowsperstrip": 17},
    "not compressed": {"photometric": "rgb"},
    "planes of one page": {"tile": (64, 64), "photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", [(0, 0, 211, 173), (10, 20, 100, 90), (63, 64, 1, 1), (200, 150, 11, 23)])
def test_regions_are_those_of_the_whole_image(tmp_path: Path, form: str, window: tuple[int, int, int, int]) -> None:
    image = picture((211, 173, 3))
    separate = FORMS[form].get("planarconfig") == "separate"
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(image, -1, 0) if separate else image, **FORMS[form])
    row, column, height, width = window
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.levels == [(211, 173)]
        assert slide.channels == 3
        found = slide.read(0, row, column, height, width)
    np.testing.assert_array_equal(found, image[row : row + height, column : column + width])


def test_channels_on_pages_and_their_pixel_size(tmp_path: Path) -> None:
    image = picture((4, 130, 150), "uint16")
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.2}
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, tile=(64, 64), metadata=metadata, compression="zlib")
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.channels, slide.dtype, slide.pixel_size) == (4, np.uint16, (0.2, 0.3))
        np.testing.assert_array_equal(np.moveaxis(slide.read(0, 30, 40, 70, 80), -1, 0), image[:, 30:100, 40:120])


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    image = picture((257, 301, 3))
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
        size = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        writer.write(image, subifds=2, metadata=size, **options)
        for factor in (2, 4):
            writer.write(block_mean(image, factor), subfiletype=1, metadata=None, **options)
    return tmp_path / "p.ome.tif"


def test_levels_are_read_and_chosen(pyramid: Path) -> None:
    with open_slide(pyramid) as slide:
        assert slide.levels == [(257, 301), (129, 151), (65, 76)]
        sides = (1000, 301, 152, 151, 77, 76, 10)
        assert [level_for(slide.levels, longest) for longest in sides] == [0, 0, 0, 1, 1, 2, 2]
        whole = slide.read(0, 0, 0, 257, 301)
        np.testing.assert_array_equal(slide.read(2, 0, 0, 65, 76), block_mean(whole, 4))


@pytest.mark.parametrize("window", [(0, 0, 64, 64), (10, 20, 100, 90), (200, 150, 56, 152)])
def test_openslide_reads_what_tifffile_reads(tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    with tifffile.TiffWriter(tmp_path / "chain.tif") as writer:  # OpenSlide wants its levels as pages
        image = picture((256, 302, 3))
        for level, part in enumerate((image, block_mean(image, 2))):
            writer.write(part, tile=(64, 64), photometric="rgb", compression="zlib", subfiletype=int(level > 0))
    with ScannerSlide(tmp_path / "chain.tif") as slide, TiffSlide(tmp_path / "chain.tif") as other:
        assert slide.levels == [(256, 302), (128, 151)]
        assert other.levels[0] == slide.levels[0]
        np.testing.assert_array_equal(slide.read(0, *window), other.read(0, *window))
        np.testing.assert_array_equal(slide.read(1, 30, 40, 50, 60), block_mean(image, 2)[30:80, 40:100])


@pytest.mark.parametrize("name", ["wsi_aperio/tcga-cr-7395-01a-01-ts1.svs", "slides_four_scanners/A_BB_563479_1.svs"])
def test_openslide_reads_a_scanner_s_slide_as_tifffile_does(shared_data: Path, name: str) -> None:
    with ScannerSlide(shared_data / name) as slide, TiffSlide(shared_data / name) as other:
        assert slide.levels[0] == other.levels[0]
        assert slide.pixel_size == pytest.approx(other.pixel_size)
        place = [side // 2 for side in slide.levels[0]]
        first, second = (s.read(0, *place, 200, 220).astype(int) for s in (slide, other))
    assert np.abs(first - second).mean() < 1.0  # two decoders of JPEG


@pytest.mark.parametrize(
    ("longest", "shape", "factor"), [(301, (257, 301), 1), (100, (129, 151), 2), (30, (33, 38), 8)]
)
def test_a_shrunk_slide_knows_where_its_pixels_lie(
    pyramid: Path, longest: int, shape: tuple[int, int], factor: int
) -> None:
    with open_slide(pyramid) as slide:
        whole = Grid.of_pixels(slide.levels[0], (0.5, 0.25))
        small, grid = read_shrunk(slide, longest, whole, block=40)
        again, same = read_shrunk(slide, longest, whole, block=4096)
    assert small.shape == (*shape, 3)
    assert (grid.shape, grid.unit) == (shape, "micrometre")
    assert same.same_space(grid)
    np.testing.assert_array_equal(small, again)
    # the centre of a pixel lies in the middle of the square that it is the mean of
    np.testing.assert_allclose(grid.to(whole) @ [1, 2, 1], [1.5 * factor - 0.5, 2.5 * factor - 0.5, 1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_averages_are_means(dtype: str, channels: int) -> None:
    part = picture((13, 17, channels), dtype)
    padded = np.pad(part.astype(np.float64), ((0, 2), (0, 1), (0, 0)), mode="edge")
    expected = padded.reshape(5, 3, 6, 3, channels).mean(axis=(1, 3))
    found = block_mean(part, 3)
    assert found.dtype == part.dtype
    np.testing.assert_allclose(found, expected, atol=1e-3 if part.dtype.kind == "f" else 0.51)


def test_a_slide_is_registered_at_a_level_and_its_pixels_known(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_large(pyramid)
    assert read_image(pyramid, longest=70).shape == (3, 257, 301)
    monkeypatch.setattr(slides, "LARGE", 257 * 301 - 1)
    assert is_large(pyramid)
    image = read_image(pyramid, longest=70)
    assert image.shape == (3, 65, 76)
    file, read = image.meta["file_grid"], image.meta["read_grid"]
    assert file.shape == (257, 301)
    assert Grid.of(image).same_space(read)
    assert image.meta["pixel_size"] == (2.0, 2.0)
    np.testing.assert_allclose(Grid.of(image).to(file) @ [0, 0, 1], [1.5, 1.5, 1])
    np.testing.assert_array_equal(read_image(pyramid).shape, (3, 257, 301))


def test_what_was_used_last_is_kept() -> None:
    made: list[int] = []

    def make(key: int) -> npt.NDArray[np.uint8]:
        made.append(key)
        return np.zeros(10, np.uint8)

    recent = LRUCache(room=25)
    for key in (1, 2, 1, 3, 1, 2):
        recent.get(key, lambda key=key: make(key))
    assert made == [1, 2, 3, 2]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tif does not exist"):
        open_slide(tmp_path / "none.tif")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'\.png' has no regions"):
        open_slide(tmp_path / "a.png")
    for name in ("broken.tif", "broken.svs", "broken.ndpi"):
        (tmp_path / name).write_bytes(b"no slide at all")
        with pytest.raises(InputError, match=f"{name} can't be read"):
            open_slide(tmp_path / name)
    axes = {"axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "stack.tif", picture((3, 5, 40, 40)), photometric="minisblack", metadata=axes)
    with pytest.raises(InputError, match="is a stack of 3 Z planes"):
        open_slide(tmp_path / "stack.tif")


def test_a_file_that_ends_early_says_so(tmp_path: Path) -> None:
    file = tmp_path / "cut.tif"
    tifffile.imwrite(file, picture((300, 300, 3)), tile=(64, 64), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(file) as tiff:
        end = tiff.pages.first.dataoffsets[-1] + 10
    file.write_bytes(file.read_bytes()[:end])
    with open_slide(file) as slide, pytest.raises(InputError, match="bytes are missing"):
        slide.read(0, 0, 0, 300, 300)
