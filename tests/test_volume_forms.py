"""Pairs of further forms through a bundle: a DICOM series onto MGZ, and arrays, with what is said of them."""

from __future__ import annotations

import json
import locale
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

import warpzoo
from custom_components.bundles import find_bundle
from custom_components.fields import Grid
from custom_components.pairs import read_image

METHOD = "semantic_similarity"
OPTIONS = {
    "spatial_dims": 3, "working_size": 32, "device": "cpu", "channels": [8, 16, 32],
    "weights": str(find_bundle(METHOD) / "models" / "volume.pt"),
}  # fmt: skip


def volume() -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).random((32, 32, 32)), 3)
    return ((noise - noise.min()) / np.ptp(noise) * 200).astype(np.int16)


def write_dicom(writer: sitk.ImageFileWriter, image: sitk.Image) -> None:
    """By GDCM, whose writing of tags sets the process's locale to C; its reading does not."""
    before = locale.setlocale(locale.LC_CTYPE)
    writer.Execute(image)
    locale.setlocale(locale.LC_CTYPE, before)


def series(folder: Path) -> Path:
    """Slices of 2 mm from the origin on, a scout beside them."""
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for uid, count in (("1.2.3.4", 32), ("1.2.3.5", 1)):
        for k in range(count):
            part = sitk.GetImageFromArray(volume()[k : k + 1])[:, :, 0]
            part.SetSpacing((2.0, 2.0))
            tags = {
                "0008|0060": "CT", "0020|000e": uid, "0020|000d": "1.2.3", "0008|0018": f"{uid}.{k + 1}",
                "0020|0032": f"0\\0\\{2 * k}", "0020|0037": "1\\0\\0\\0\\1\\0",
            }  # fmt: skip
            for key, value in tags.items():
                part.SetMetaData(key, value)
            writer.SetFileName(str(folder / f"{uid}_{k:03d}.dcm"))
            write_dicom(writer, part)
    return folder


@pytest.fixture
def mgz(tmp_path: Path) -> Path:
    """The same volume, stored sagittal and mirrored, as FreeSurfer does."""
    affine = np.array([[0, 0, -2.0, 0], [0, 2.0, 0, -62.0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    stored = volume()[:, ::-1].astype(np.float32)  # axes S, -P = A, L
    nibabel.save(nibabel.MGHImage(np.ascontiguousarray(stored), affine), tmp_path / "f.mgz")
    return tmp_path / "f.mgz"


def test_a_dicom_series_is_registered_onto_mgz_and_its_points_are_carried(mgz: Path, tmp_path: Path) -> None:
    folder = series(tmp_path / "series")
    points = tmp_path / "p.csv"
    points.write_text("X,Y,Z\n30,32,34\n26,38,30\n")
    result = warpzoo.register(
        folder, mgz, METHOD, output_dir=tmp_path / "out", moving_landmarks=points, fixed_landmarks=points,
        point_space="lps", report=True, **OPTIONS,
    )  # fmt: skip
    assert result.folder.name == "series_to_f"
    assert any("series holds 2 DICOM series; read is the largest" in note for note in result.metrics["notes"])
    assert result.metrics["landmarks"]["initial_mean"] == pytest.approx(0, abs=1e-6)  # one physical space
    assert result.metrics["landmarks"]["mean"] < 4
    warped, fixed = read_image(result.folder / "warped.nii.gz"), read_image(mgz)
    assert Grid.of(warped).same_space(Grid.of(fixed))
    assert np.corrcoef(warped.numpy().ravel(), fixed.numpy().ravel())[0, 1] > 0.9
    assert "series holds 2 DICOM series" in (result.folder / "report.html").read_text(encoding="utf-8")
    record = json.loads((result.folder / "metrics.json").read_text())["run"]["inputs"]["moving"]
    assert record["size"] > 32 * 32 * 32


def test_arrays_are_registered_in_voxels(tmp_path: Path) -> None:
    for side in ("moving", "fixed"):
        np.save(tmp_path / f"{side}.npy", volume())
    points = tmp_path / "p.csv"
    points.write_text("X,Y,Z\n15,16,17\n")
    files = {f"{side}_landmarks": points for side in ("moving", "fixed")}
    result = warpzoo.register(
        tmp_path / "moving.npy", tmp_path / "fixed.npy", METHOD, output_dir=tmp_path / "out", report=False,
        point_space="voxel", **files, **OPTIONS,
    )  # fmt: skip
    assert result.metrics["unit"] == "pixel"
    assert [note.split(";")[0] for note in result.metrics["notes"]][:2] == [
        "moving: moving.npy states no spacing", "fixed: fixed.npy states no spacing"
    ]  # fmt: skip
    assert result.metrics["landmarks"]["unit"] == "voxel"
    assert (result.folder / "warped.nii.gz").is_file()
    with pytest.raises(warpzoo.InputError, match="give points in voxels, not ras"):
        result.points([[1, 2, 3]], space="ras")
