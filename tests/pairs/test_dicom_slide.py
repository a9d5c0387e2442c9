"""Whole slides in DICOM as pydicom writes them: pyramids, colour and fluorescence; volumes are never taken for them."""

from __future__ import annotations

import locale
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.pairs import is_large, open_slide, read_image
from custom_components.pairs.dicom_class import is_dicom_slide, sop_class
from custom_components.pairs.reading import Reading
from custom_components.slides.native import output_suffix

pytest.importorskip("wsidicom", reason="the package wsidicom is not installed")

from benchmarks.dicom_files import write_dicom_slide

RNG = np.random.default_rng(0)
COLOUR = gaussian_filter(RNG.uniform(0, 255, (600, 700, 3)), (3, 3, 0)).astype(np.uint8)
PATHS = RNG.integers(0, 60000, (2, 300, 400), dtype=np.uint16)


def first(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0)


def test_a_folder_is_a_pyramid_read_by_regions(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR, step=(0.5, 0.25), levels=3)
    assert is_dicom_slide(folder)
    assert is_large(folder)
    assert output_suffix(folder, None) == ".ome.tif"
    with open_slide(folder) as slide:
        assert slide.levels == [(600, 700), (300, 350), (150, 175)]
        assert slide.pixel_size == pytest.approx((0.5, 0.25))
        assert (slide.layout.kind, slide.layout.tile, slide.layout.levels) == ("rgb", (256, 256), 3)
        assert slide.notes == ()
        np.testing.assert_array_equal(slide.read(0, 100, 200, 333, 444), COLOUR[100:433, 200:644])
        half = slide.read(1, 10, 20, 200, 300).astype(float)
        mean = COLOUR.reshape(300, 2, 350, 2, 3).mean(axis=(1, 3))[10:210, 20:320]
        assert np.abs(half - mean).max() <= 1
    np.testing.assert_array_equal(read_image(folder).numpy(), first(COLOUR))
    small = read_image(folder, longest=175)
    assert small.shape == (3, 150, 175)
    assert small.meta["pixel_size"] == pytest.approx((2.0, 1.0))


@pytest.mark.parametrize("jpeg", [False, True])
def test_openslide_reads_the_same(tmp_path, jpeg: bool) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR, levels=2, jpeg=jpeg)
    with open_slide(folder) as slide, openslide.OpenSlide(sorted(folder.iterdir())[0]) as other:
        assert slide.layout.compression == ("jpeg" if jpeg else "")
        for level, (height, width) in enumerate(slide.levels):
            assert other.level_dimensions[level] == (width, height)
            theirs = np.asarray(other.read_region((0, 0), level, (width, height)))[..., :3]
            np.testing.assert_array_equal(slide.read(level, 0, 0, height, width), theirs)


def test_threads_read_what_one_reads(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR, jpeg=True)
    places = [(row, column) for row in range(0, 500, 50) for column in range(0, 600, 100)]
    with open_slide(folder) as slide, ThreadPoolExecutor(4) as pool:
        alone = [slide.read(0, *place, 90, 95) for place in places]
        together = list(pool.map(lambda place: slide.read(0, *place, 90, 95), places))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_optical_paths_are_channels_by_name(tmp_path) -> None:
    image = read_image(write_dicom_slide(tmp_path / "slide", PATHS, names=("CD3", "DAPI")))
    np.testing.assert_array_equal(image.numpy(), PATHS)
    assert image.meta["dtype"] == "uint16"
    assert image.meta["layout"].names == ("CD3", "DAPI")
    assert image.meta["channel"] == 1


def test_focal_planes_need_a_plane(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", np.concatenate([PATHS, PATHS // 2]), names=("CD3", "DAPI"), planes=2)
    with pytest.raises(InputError, match="slide is a stack of 2 focal planes, not one section"):
        read_image(folder)
    # a path's planes come one after the other
    stack = np.concatenate([PATHS, PATHS // 2]).reshape(2, 2, 300, 400)
    np.testing.assert_array_equal(read_image(folder, reading=Reading(plane=1)).numpy(), stack[:, 1])
    np.testing.assert_array_equal(read_image(folder, reading=Reading(plane="max")).numpy(), stack.max(axis=1))


def test_one_file_is_its_level_and_that_is_said(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR, levels=2)
    level = folder / "section_volume_1.dcm"
    with open_slide(level) as slide:
        assert slide.levels == [(300, 350)]
        assert slide.pixel_size == pytest.approx((1.0, 1.0))
        assert slide.notes == (
            "section_volume_1.dcm is one file of a slide in DICOM; give its folder to read all its levels",
        )


def test_of_two_slides_in_a_folder_the_largest_or_the_one_named_is_read(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slides", COLOUR[:300], series="HE")
    write_dicom_slide(folder, COLOUR, series="Ki67")
    write_dicom_slide(folder, COLOUR[:100, :100], series="label", kind="LABEL")
    with open_slide(folder) as slide:
        assert slide.levels == [(600, 700)]
        assert slide.notes == ("series 1 'Ki67' of 2 is read (0 'HE', 1 'Ki67')",)
    np.testing.assert_array_equal(read_image(folder, reading=Reading(series="HE")).numpy(), first(COLOUR[:300]))
    with pytest.raises(InputError, match="has no series '5'; it has 0 'HE', 1 'Ki67'"):
        read_image(folder, reading=Reading(series=5))


def ct_series(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(3):
        image = sitk.GetImageFromArray(RNG.integers(0, 100, (1, 40, 40), dtype=np.int16))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for key, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0008|0060": "CT", "0020|000e": "1.2.3",
            "0020|0037": r"1\0\0\0\1\0", "0020|0032": rf"0\0\{number}", "0008|0018": f"1.2.3.{number + 1}",
        }.items():  # fmt: skip
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{number}.dcm"))
        before = locale.setlocale(locale.LC_CTYPE)  # GDCM's writing of tags sets the process's to C
        writer.Execute(image)
        locale.setlocale(locale.LC_CTYPE, before)
    return folder


def test_a_series_of_ct_stays_a_volume(tmp_path) -> None:
    folder = ct_series(tmp_path / "ct")
    assert not is_dicom_slide(folder)
    assert sop_class(folder / "0.dcm") == "1.2.840.10008.5.1.4.1.1.2"
    assert not is_large(folder)
    assert read_image(folder).shape == (1, 3, 40, 40)


def test_a_slide_among_volumes_is_refused(tmp_path) -> None:
    folder = write_dicom_slide(ct_series(tmp_path / "both"), COLOUR)
    with pytest.raises(InputError, match=r"both holds a whole slide and other DICOM images \(0\.dcm\)"):
        read_image(folder)


def test_a_label_alone_is_refused(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR, kind="LABEL")
    with pytest.raises(InputError, match="is a label or overview of a slide in DICOM, not a level of its pyramid"):
        read_image(folder)


def test_a_damaged_file_is_refused(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR)
    file = folder / "section_volume_0.dcm"
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(InputError, match="slide"):
        read_image(folder)


def test_a_file_that_is_cut_off_is_refused(tmp_path) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR)
    file = folder / "section_volume_0.dcm"
    file.write_bytes(file.read_bytes()[:-900_000])
    with pytest.raises(InputError, match="slide"):
        read_image(folder)


def test_a_missing_package_is_told(tmp_path, monkeypatch) -> None:
    folder = write_dicom_slide(tmp_path / "slide", COLOUR)
    monkeypatch.setitem(sys.modules, "wsidicom", None)
    with pytest.raises(InputError, match=r"DICOM need the package wsidicom \(pip install warpzoo\[dicom\]\)"):
        read_image(folder)
