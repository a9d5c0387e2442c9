"""DICOM, MGZ, Analyze and arrays: pixels, places and what is said of them."""

from __future__ import annotations

import locale
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from custom_components.common.errors import InputError
from custom_components.fields import Grid
from custom_components.outputs.identity import file_record, is_unchanged
from custom_components.pairs import read_image, select_pairs
from custom_components.pairs.table import check_pair
from custom_components.slides.native import native_array, output_suffix
from custom_components.transforms import ReadPaird

SPACING = (0.7, 0.8, 2.5)
CT = "1.2.840.10008.5.1.4.1.1.2"


def volume(slices: int = 12, turned: bool = True) -> sitk.Image:
    values = np.random.default_rng(0).integers(-500, 1000, (slices, 40, 44)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(SPACING)
    image.SetOrigin((-10.0, 20.0, -30.0))
    if turned:
        image.SetDirection(Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix().ravel().tolist())
    return image


def matrix_of(image: sitk.Image) -> np.ndarray:
    ends = [image.TransformIndexToPhysicalPoint(p) for p in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    matrix = np.eye(4)
    matrix[:3, 3] = ends[0]
    matrix[:3, :3] = np.transpose(np.subtract(ends[1:], ends[0]))
    return matrix


def write_dicom(writer: sitk.ImageFileWriter, image: sitk.Image) -> None:
    """By GDCM, whose writing of tags sets the process's locale to C; its reading does not."""
    before = locale.setlocale(locale.LC_CTYPE)
    writer.Execute(image)
    locale.setlocale(locale.LC_CTYPE, before)


def write_series(
    folder: Path, image: sitk.Image, uid: str = "1.2.3.4", name: str = "axial", shift=lambda k: k, tilt: float = 0.0
) -> Path:
    """A DICOM series, a file a slice; ``shift`` says where slice k lies."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    axes = np.reshape(image.GetDirection(), (3, 3))
    for k in range(image.GetSize()[2]):
        part = image[:, :, k]
        place = np.array(image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, float(shift(k)))))
        place += axes[:, 1] * tilt * k
        tags = {
            "0008|0060": "CT", "0008|0016": CT, "0020|000e": uid, "0020|000d": "1.2.3", "0008|103e": name,
            "0020|0013": str(k + 1), "0008|0018": f"{uid}.{k + 1}",
            "0020|0032": "\\".join(map(repr, place.tolist())),
            "0020|0037": "\\".join(map(repr, [*axes[:, 0].tolist(), *axes[:, 1].tolist()])),
        }  # fmt: skip
        for key, value in tags.items():
            part.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}_{k:03d}"))
        writer.SetImageIO("GDCMImageIO")
        write_dicom(writer, part)
    return folder


def test_a_folder_of_a_dicom_series_is_a_volume(tmp_path: Path) -> None:
    image = volume()
    found = read_image(write_series(tmp_path / "series", image))
    assert found.meta["dtype"] == "int16"
    np.testing.assert_array_equal(native_array(found)[0], sitk.GetArrayFromImage(image))
    grid = Grid.of(found)
    assert (grid.unit, grid.known) == ("millimetre", True)
    np.testing.assert_allclose(grid.matrix, matrix_of(image), atol=1e-6)
    assert found.meta["notes"] == ()


def test_reading_dicom_leaves_the_locale(tmp_path: Path) -> None:
    folder, before = write_series(tmp_path / "series", volume()), locale.setlocale(locale.LC_ALL)
    read_image(folder)
    read_image(folder / "1.2.3.4_003")
    assert locale.setlocale(locale.LC_ALL) == before


def test_of_several_series_the_largest_is_read_and_said(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "study", volume())
    write_series(folder, volume(5), "1.2.3.5", "scout")
    found = read_image(folder)
    assert found.shape == (1, 12, 40, 44)
    (note,) = found.meta["notes"]
    assert note == "study holds 2 DICOM series; read is the largest, axial (12 files), not scout (5 files)"
    write_series(folder, volume(), "1.2.3.6", "late")
    with pytest.raises(InputError, match=r"several of the largest size: .*a folder of its own"):
        read_image(folder)


def test_a_series_that_itk_would_misplace_is_refused(tmp_path: Path) -> None:
    cases = {
        "missing": (dict(shift=lambda k: k + (k > 5)), "some are missing"),
        "twice": (dict(shift=lambda k: k // 2), "lie in one place"),
        "tilted": (dict(tilt=0.5), "gantry tilt"),
    }
    for name, (options, said) in cases.items():
        with pytest.raises(InputError, match=said):
            read_image(write_series(tmp_path / name, volume(), **options))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="a folder without a DICOM series"):
        read_image(empty)


def test_a_dicom_file_of_many_frames_is_a_volume(tmp_path: Path) -> None:
    image = volume()
    image.SetMetaData("0008|0060", "CT")
    image.SetMetaData("0008|0016", f"{CT}.1")
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "frames.dcm"))
    write_dicom(writer, image)
    found = read_image(tmp_path / "frames.dcm")
    np.testing.assert_array_equal(native_array(found)[0], sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(Grid.of(found).matrix, matrix_of(image), atol=1e-6)
    assert Grid.of(found).known
    capture = sitk.Cast(image[:, :, :], sitk.sitkUInt8)
    for key in capture.GetMetaDataKeys():
        capture.EraseMetaData(key)
    writer.SetFileName(str(tmp_path / "capture.dcm"))
    write_dicom(writer, capture)
    found = read_image(tmp_path / "capture.dcm")
    assert not Grid.of(found).known
    assert "capture.dcm states no place of its frames" in found.meta["notes"][0]


def test_one_slice_of_a_series_is_a_section_and_says_so(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", volume())
    (tmp_path / "slice").write_bytes((folder / "1.2.3.4_003").read_bytes())  # DICOM without a suffix
    found = read_image(tmp_path / "slice")
    assert found.shape == (1, 40, 44)
    assert "give the folder of its DICOM series" in found.meta["notes"][0]


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_freesurfer_states_its_place(suffix: str, tmp_path: Path) -> None:
    image = volume()
    lps = matrix_of(image)
    ras = np.diag([-1, -1, 1, 1]) @ lps @ np.eye(4)[:, [2, 1, 0, 3]]
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    nibabel.save(nibabel.MGHImage(values.T, ras), tmp_path / f"a{suffix}")
    found = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(found.numpy()[0], values)
    np.testing.assert_allclose(Grid.of(found).matrix, lps, atol=1e-4)
    assert Grid.of(found).known
    assert found.meta["notes"] == ()


def test_nifti_pairs_state_their_place_and_analyze_does_not(tmp_path: Path) -> None:
    image = volume()
    ras = np.diag([-1, -1, 1, 1]) @ matrix_of(image) @ np.eye(4)[:, [2, 1, 0, 3]]
    values = sitk.GetArrayFromImage(image)
    nibabel.save(nibabel.Nifti1Pair(values.T, ras), tmp_path / "nifti.img")
    for name in ("nifti.img", "nifti.hdr"):
        found = read_image(tmp_path / name)
        np.testing.assert_array_equal(native_array(found)[0], values)
        np.testing.assert_allclose(Grid.of(found).matrix, matrix_of(image), atol=1e-4)
        assert Grid.of(found).known
    nibabel.save(nibabel.AnalyzeImage(values.T, np.diag([*SPACING, 1])), tmp_path / "old.img")
    found = read_image(tmp_path / "old.hdr")
    np.testing.assert_array_equal(native_array(found)[0], values)
    np.testing.assert_allclose(Grid.of(found).spacing, SPACING[::-1], atol=1e-6)
    assert not Grid.of(found).known
    assert "old.hdr (Analyze) states no orientation" in found.meta["notes"][0]
    (tmp_path / "old.img").unlink()
    with pytest.raises(InputError, match=r"old\.hdr can't be read"):
        read_image(tmp_path / "old.hdr")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((40, 50), (1, 40, 50)), ((40, 50, 3), (3, 40, 50)), ((10, 40, 50), (1, 10, 40, 50))],
)
def test_arrays_count_in_pixels(shape: tuple[int, ...], expected: tuple[int, ...], tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(shape).astype(">f4")
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", values)
    for name in ("a.npy", "a.npz"):
        found = read_image(tmp_path / name)
        assert tuple(found.shape) == expected
        np.testing.assert_array_equal(np.moveaxis(found.numpy(), 0, -1).reshape(shape), values)
        grid = Grid.of(found)
        assert (grid.unit, grid.known) == ("pixel", False)
        assert f"{name} states no spacing" in found.meta["notes"][0]


def test_arrays_that_can_not_be_read_say_why(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.ones((40, 40)), b=np.ones((40, 40)))
    np.save(tmp_path / "many.npy", np.ones((2, 40, 40, 40)))
    np.save(tmp_path / "complex.npy", np.ones((40, 40), np.complex64))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "many.npy").read_bytes()[:200])
    for name, said in (
        ("objects.npy", "Python objects"), ("objects.npz", "arrays|Python objects"), ("two.npz", "2 arrays"),
        ("many.npy", "is an array of"), ("complex.npy", "complex64"), ("cut.npy", "can't be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said) as error:
            read_image(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


def test_a_pair_may_be_folders_and_its_notes_are_collected(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "study", volume())
    write_series(folder, volume(5), "1.2.3.5", "scout")
    values = np.random.default_rng(0).random((44, 40, 12), np.float32)
    nibabel.save(nibabel.MGHImage(values, np.eye(4)), tmp_path / "f.mgz")
    pair = select_pairs(moving=folder, fixed=tmp_path / "f.mgz")[0]
    check_pair(pair)
    assert pair.id == "study_to_f"
    data = ReadPaird(volumes=True)({"pair": pair})
    assert data["unit"] == "millimetre"
    assert data["notes"][0].startswith("moving: study holds 2 DICOM series")
    record = file_record(folder)
    assert record["size"] == sum(file.stat().st_size for file in folder.iterdir())
    assert is_unchanged(record, folder)
    (folder / "1.2.3.4_003").write_bytes(b"")
    assert not is_unchanged(record, folder)


def test_forms_that_are_not_written_become_others(tmp_path: Path) -> None:
    for name, dimensions, suffix in (
        ("a.mgz", 3, ".nii.gz"), ("a.dcm", 3, ".nii.gz"), ("a.dcm", 2, ".nii.gz"), ("a.img", 3, ".nii.gz"),
        ("a.npy", 3, ".nii.gz"), ("a.npz", 2, ".tif"), ("a.png", 2, ".png"), ("a.mha", 3, ".mha"),
    ):  # fmt: skip
        assert output_suffix(tmp_path / name, None, dimensions) == suffix
    assert output_suffix(tmp_path, None, 3) == ".nii.gz"
