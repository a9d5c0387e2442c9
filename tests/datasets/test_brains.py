"""Brain sets: orientation, alignment, synthesis, splits."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from custom_components.common.errors import InputError
from custom_components.datasets import brain_labels, brain_mri, brain_oasis, brain_slabs
from custom_components.datasets.brains import canonical, centred_grid, resampled, rigid_between
from custom_components.datasets.synthesis import CLASSES, TISSUES, merged, synthesised
from custom_components.pairs import check_pair, read_image, read_pairs


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.linalg.norm(np.indices(shape) - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius


def counts(table: Path) -> dict[str, int]:
    pairs = read_pairs(table)
    for pair in pairs:
        check_pair(pair)
    return pd.Series([pair.extra["status"] for pair in pairs]).value_counts().to_dict()


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR"])
def test_a_volume_is_read_with_its_axes_up_forward_and_right(tmp_path, axes) -> None:
    volume = np.zeros((6, 8, 10), np.int16)
    volume[1, 2, 3] = 7  # x, y, z
    image = nibabel.Nifti1Image(volume, np.diag([2.0, 3.0, 4.0, 1.0]))
    start = nibabel.orientations.io_orientation(image.affine)
    turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(axes))
    nibabel.save(image.as_reoriented(turn), tmp_path / "a.nii.gz")
    array, grid = canonical(tmp_path / "a.nii.gz")
    assert array.shape == (10, 8, 6)
    assert array[3, 2, 1] == 7
    assert np.allclose(grid @ [3, 2, 1, 1], [-2, -6, 12, 1])  # LPS


def test_resampling_keeps_labels_and_smooths_images() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, (12, 12, 12)).astype(np.uint8)
    assert np.array_equal(resampled(labels, np.eye(4), labels.shape, order=0), labels)
    coarse = np.diag([2.0, 2, 2, 1])
    coarse[:3, 3] = 0.5
    image = generator.random((40, 40, 40)).astype(np.float32)
    small = resampled(image, coarse, (20, 20, 20), order=1)
    assert small.std() < image.std() / 2
    assert small.mean() == pytest.approx(image.mean(), abs=0.01)


def test_the_grid_of_a_brain_is_centred() -> None:
    matrix, shape = centred_grid(4.0)
    assert shape == (40, 48, 40)
    assert np.allclose(matrix @ [19.5, 23.5, 19.5, 1], [0, 0, 0, 1])
    assert np.allclose(matrix[:3, :3], [[0, 0, -4], [0, -4, 0], [4, 0, 0]])


def test_rigid_between_recovers_a_rotation_and_never_mirrors() -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(9, 3)) * 30
    turn, shift = Rotation.random(random_state=1).as_matrix(), np.array([4.0, -7, 2])
    first = dict(enumerate(points))
    second = {key: turn @ point + shift for key, point in first.items() if key != 4}
    found = rigid_between(first, second)
    assert np.allclose(found[:3, :3], turn)
    assert np.allclose(found[:3, 3], shift)
    mirrored = rigid_between(first, {key: point * [-1, 1, 1] for key, point in first.items()})
    assert np.linalg.det(mirrored[:3, :3]) == pytest.approx(1)


def test_sides_are_merged_and_all_else_is_background() -> None:
    found = merged(np.array([0, 2, 41, 3, 42, 17, 53, 514, 999]))
    assert found.tolist() == [0, 1, 1, 2, 2, 12, 12, 0, 0]
    assert CLASSES == len(TISSUES) + 1


def test_synthesis_is_drawn_by_its_seed_and_black_outside() -> None:
    classes = np.zeros((30, 30, 30), np.uint8)
    classes[5:25, 5:25, 5:15], classes[5:25, 5:25, 15:25] = 1, 3  # white matter, ventricle
    image = synthesised(classes, 3)
    assert np.array_equal(image, synthesised(classes, 3))
    assert not np.array_equal(image, synthesised(classes, 4))
    assert image[classes == 0].max() == 0
    assert image[classes == 1].mean() > 3 * image[classes == 3].mean()
    means = [synthesised(classes, seed, "random")[classes == 1].mean() for seed in range(8)]
    assert np.std(means) > 0.1
    with pytest.raises(InputError, match="contrast is t1 or random, got 't2'"):
        synthesised(classes, 0, "t2")
    assert not synthesised(np.zeros((9, 9, 9), np.uint8), 0).any()


def test_brain_slabs(tmp_path) -> None:
    affine = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # as the files: P, S, R
    for number in range(1, 17):
        labels = np.zeros((48, 4, 40), np.float32)
        labels[10:30, :, 10:30] = 4
        save(tmp_path / f"ilist{number}.nii.gz", np.full(labels.shape, number / 16, np.float32), affine)
        save(tmp_path / f"slist{number}.nii.gz", labels, affine)
    brain_slabs(str(tmp_path), str(tmp_path / "flat"), axial=2)
    assert counts(tmp_path / "flat" / "pairs.csv") == {"training": 90, "validation": 2, "evaluation": 12}
    image, labels = (read_image(tmp_path / "flat" / kind / "16.tif") for kind in ("images", "labels"))
    assert image.shape == labels.shape == (1, 48, 40)
    assert image[0, 15, 15] == 1
    assert image[0, 0].max() == 0  # far from the labels
    assert labels[0, 10:30, 10:30].min() == 4  # anterior above, as the file's first axis
    brain_slabs(str(tmp_path), str(tmp_path / "thin"))
    assert read_image(tmp_path / "thin" / "images" / "01.nii.gz").shape == (1, 4, 48, 40)
    with pytest.raises(InputError, match="axial is 0 to 3, got 9"):
        brain_slabs(str(tmp_path), str(tmp_path / "no"), axial=9)


def test_brain_labels_are_aligned(tmp_path) -> None:
    shape = (64, 64, 64)
    for number in range(1, 13):
        labels = np.zeros(shape, np.int32)
        shift = number % 3
        for value, centre, radius in (
            (2, (24, 32, 32), 9),
            (41, (40, 32, 32), 9),
            (3, (32, 46, 40), 6),
            (16, (32, 28, 16), 5),
        ):
            labels[ball(shape, tuple(c + shift for c in centre), radius)] = value
        save(tmp_path / f"seg_{number:02d}.nii.gz", labels, np.diag([2.5, 2.5, 2.5, 1]))
    brain_labels(str(tmp_path), str(tmp_path / "set"), spacing=5.0)
    assert counts(tmp_path / "set" / "pairs.csv") == {"training": 56, "validation": 18, "evaluation": 18}
    maps = [read_image(tmp_path / "set" / "labels" / f"{n:02d}.nii.gz").numpy() for n in (7, 8, 12)]
    assert maps[0].shape == (1, 32, 38, 32)
    assert all((one > 0).sum() > 500 for one in maps)
    assert all(np.mean(maps[0] != one) < 0.002 for one in maps[1:])  # shifts are taken out
    image = read_image(tmp_path / "set" / "images" / "07.nii.gz").numpy()
    assert image[maps[0] == 1].mean() > image[maps[0] == 2].mean() > 0.3


def test_brain_oasis(tmp_path) -> None:
    for name in "AB":
        image = np.zeros((40, 48, 36), np.float64)
        image[10:30, 10:40, 10:30] = 0.5
        save(tmp_path / f"image_{name}_160x192x144.nii.gz", image, np.diag([4.0, 4, 4, 1]))
        save(tmp_path / f"image_{name}_160x192x144_seg.nii.gz", (4 * image).astype(np.int16), np.diag([3.9, 3.9, 4, 1]))
    brain_oasis(str(tmp_path), str(tmp_path / "set"), spacing=4.0)
    assert counts(tmp_path / "set" / "pairs.csv") == {"evaluation": 2}
    image, labels = (read_image(tmp_path / "set" / kind / "A.nii.gz").numpy() for kind in ("images", "labels"))
    assert image.shape == (1, 40, 48, 40)
    assert np.array_equal(labels[0, 12:32, 10:40, 10:30], np.full((20, 30, 20), 2))


def test_brain_mri_is_a_table_of_files_where_they_are(tmp_path) -> None:
    rows = [("a", "train"), ("b", "val"), ("c", "test"), ("d", "other")]
    pd.DataFrame(rows, columns=["subject_id", "SPLIT"]).to_csv(tmp_path / "metadata.csv", index=False)
    for folder in ("atlas", *(f"data/{name}" for name, _ in rows)):
        for name in ("brain_aligned", "seg_coalesced_aligned"):
            save(tmp_path / folder / f"{name}.nii.gz", np.ones((33, 34, 35), np.float32))
    text = brain_mri(str(tmp_path), str(tmp_path / "pairs.csv"))
    assert text.endswith("1 training pairs, 1 validation pairs, 1 evaluation pairs")
    assert counts(tmp_path / "pairs.csv") == {"training": 1, "validation": 1, "evaluation": 1}
    assert all(pair.fixed.parent.name == "atlas" for pair in read_pairs(tmp_path / "pairs.csv"))
    (tmp_path / "data" / "b" / "brain_aligned.nii.gz").unlink()
    with pytest.raises(InputError, match="does not exist"):
        brain_mri(str(tmp_path), str(tmp_path / "again.csv"))
    pd.DataFrame({"subject_id": ["a"]}).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(InputError, match="has no column SPLIT"):
        brain_mri(str(tmp_path), str(tmp_path / "again.csv"))
