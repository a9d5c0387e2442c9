"""A 3-D pair through the whole house: read, prepare, register, write, report, carry another volume over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter

from custom_components.commands.apply import apply
from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.fields import Grid, index_to_physical, read_displacement, transform_points
from custom_components.inferers import Chain
from custom_components.inferers.residual import with_residual
from custom_components.inferers.result import Estimate, PairImages
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.sections import in_plane, sections
from custom_components.outputs.writer import write_registration
from custom_components.pairs import Pair, read_image, select_pairs, write_image
from custom_components.transforms import CommonPadd, GreyScaled, ReadLabels, ReadPaird, WorkingSized

SHAPE = (40, 48, 56)  # slice, row, column
SPACING = (1.5, 1.0, 2.0)  # x, y, z millimetres
SHIFT = (2, -3, 4)  # voxels, fixed -> moving
KEYS = ["moving", "fixed"]


def volume(seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).random(SHAPE), 2.5)
    ball = sum(
        (np.arange(n).reshape([-1 if a == i else 1 for a in range(3)]) / n - 0.5) ** 2 for i, n in enumerate(SHAPE)
    )
    return ((noise - noise.min()) / np.ptp(noise) * 200 * (ball < 0.08)).astype(np.float32)  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    matrix = index_to_physical(SPACING, origin=(-20.0, 7.0, 3.0))
    fixed = volume()
    moving = np.roll(fixed, SHIFT, axis=(0, 1, 2))
    files = {}
    for side, image in (("moving", moving), ("fixed", fixed)):
        files[side] = tmp_path / f"{side}.nii.gz"
        write_image(files[side], image[None], matrix)
        files[f"{side}_labels"] = tmp_path / f"{side}_labels.nii.gz"
        write_image(files[f"{side}_labels"], (image[None] > 100).astype(np.uint8), matrix)
    return select_pairs(**files)[0]


def prepared(pair: Pair, working_size: int = 64) -> dict:
    steps = [
        ReadPaird(volumes=True), WorkingSized(KEYS, working_size), GreyScaled(KEYS, background_value=0.0),
        CommonPadd(KEYS, margin=4, multiple=8),
    ]  # fmt: skip
    return Compose(steps)({"pair": pair})


def known_shift(images: PairImages, estimate: Estimate) -> Estimate:
    """Stands in for a network."""
    ddf = torch.zeros(1, 3, *images.shape) + torch.tensor(SHIFT).view(1, 3, 1, 1, 1)
    return with_residual(estimate, ddf, images, 0.1, "shift", 0.0, {})


def test_a_volume_is_registered_written_and_carried(pair, tmp_path) -> None:
    data = prepared(pair)
    assert data["unit"] == "millimetre"
    assert data["working_moving"].shape == (1, 48, 56, 64)
    assert float(data["mask_fixed"].mean()) < 0.5
    images = to_pair_images(data, torch.device("cpu"))
    result = Chain([known_shift])(images)
    metrics = write_registration(result, PreparedPair.of(data), Output(tmp_path / "out"))
    folder = tmp_path / "out" / pair.id
    assert metrics["dice"][1] > 0.99
    assert metrics["folding_share"] == 0
    warped, fixed = read_image(folder / "warped.nii.gz"), read_image(pair.fixed)
    assert torch.allclose(warped, fixed, atol=1e-2)
    np.testing.assert_allclose(Grid.of(warped).matrix, Grid.of(fixed).matrix, atol=1e-5)
    forward = read_displacement(folder / "displacement.nii.gz")
    point = np.array([[10.0, 30.0, 40.0]])
    moved = transform_points(forward, point) - point
    np.testing.assert_allclose(moved, [[4 * 1.5, -3 * 1.0, 2 * 2.0]], atol=1e-4)
    back = transform_points(read_displacement(folder / "inverse_displacement.nii.gz"), point + moved)
    np.testing.assert_allclose(back, point, atol=1e-4)
    page = (folder / "report.html").read_text()
    assert "displacement.nii.gz" in page
    assert page.count("data:image/jpeg") >= 9
    assert json.loads((folder / "metrics.json").read_text())["unit"] == "millimetre"
    # what is carried over with the stored field is what was written
    other = apply(str(folder), image=str(pair.moving), output=str(tmp_path / "again.nii.gz"))
    assert torch.allclose(read_image(other), warped, atol=1e-3)


def test_a_shrunken_volume_gives_the_same_physical_field(pair) -> None:
    data = prepared(pair, working_size=64)
    small = Compose([ReadPaird(volumes=True), WorkingSized(KEYS, 64), GreyScaled(KEYS), CommonPadd(KEYS, 0, 8)])
    shrunk = small({"pair": pair})
    assert shrunk["working_fixed"].shape == (1, 40, 48, 56)
    for ready in (data, shrunk):
        # the brightest voxel keeps its place in the file's millimetres
        working, matrix = ready["working_fixed"], Grid.of(ready["working_fixed"]).matrix
        index = np.array(np.unravel_index(int((working[0] >= 1).float().argmax()), working.shape[1:]))
        place = matrix @ np.append(index, 1)
        fixed = read_image(pair.fixed)
        voxel = np.linalg.inv(Grid.of(fixed).matrix) @ place
        row = tuple(round(v) for v in voxel[:3])
        assert fixed[(0, *row)] >= np.percentile(fixed, 99)


@pytest.mark.parametrize("values", [None, (0, 7, 9)])
def test_label_maps_come_onto_the_working_grid(values, pair, tmp_path) -> None:
    labels = np.zeros((1, *SHAPE), np.uint8)
    labels[:, :20], labels[:, 20:, :24], labels[:, :, :, :28] = 7, 9, 3
    file = tmp_path / "classes.nii.gz"
    write_image(file, labels, Grid.of(read_image(pair.fixed)).matrix)
    named = select_pairs(moving=pair.moving, fixed=pair.fixed, fixed_labels=file)[0]
    data = ReadLabels(KEYS, values)(prepared(named))
    assert "labels_moving" not in data
    found = data["labels_fixed"][0].numpy()
    wanted = labels[0] if values is None else np.select([labels[0] == 7, labels[0] == 9], [1, 2], 0)
    assert np.array_equal(found[4:44, 4:52, 4:60], wanted)  # the margin of 4 about it
    assert found.sum() == wanted.sum()


def test_label_maps_shrink_with_their_image(tmp_path) -> None:
    classes = np.kron(np.random.default_rng(0).integers(0, 5, (32, 48)), np.ones((4, 4))).astype(np.uint8)
    for name in ("image.png", "labels.png"):
        write_image(tmp_path / name, classes[None])
    files = {"moving": "image.png", "fixed": "image.png", "moving_labels": "labels.png"}
    pair = select_pairs(**{side: tmp_path / name for side, name in files.items()})[0]
    steps = [ReadPaird(), WorkingSized(KEYS, 96), GreyScaled(KEYS), CommonPadd(KEYS, 0, 4), ReadLabels(KEYS)]
    found = Compose(steps)({"pair": pair})["labels_moving"][0].numpy()
    assert np.array_equal(found, classes[::2, ::2])


def test_label_maps_of_volumes_lie_where_their_own_header_says(pair, tmp_path) -> None:
    """A map of a part of the volume, stored flipped: outside of it there is no label."""
    grid = Grid.of(read_image(pair.fixed))
    part = np.zeros((1, *grid.shape), np.uint8)
    part[:, 10:20, 12:30, 8:40] = 5
    cut = grid.cropped((10, 12, 8), (10, 18, 32))
    flipped = Grid(cut.shape, cut.matrix @ np.array([[1, 0, 0, 0], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1]]))
    file = tmp_path / "part.nii.gz"
    write_image(file, np.full((1, *cut.shape), 5, np.uint8), flipped.matrix)
    found = ReadLabels(KEYS)(prepared(select_pairs(moving=pair.moving, fixed=pair.fixed, fixed_labels=file)[0]))
    assert np.array_equal(found["labels_fixed"][0].numpy()[4:44, 4:52, 4:60], part[0])


def test_label_maps_of_sections_of_another_size_are_refused(tmp_path) -> None:
    write_image(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (1, 128, 192), np.uint8))
    write_image(tmp_path / "small.png", np.zeros((1, 40, 40), np.uint8))
    files = {"moving": "image.png", "fixed": "image.png", "moving_labels": "small.png"}
    pair = select_pairs(**{side: tmp_path / name for side, name in files.items()})[0]
    data = Compose([ReadPaird(), WorkingSized(KEYS, 96), GreyScaled(KEYS), CommonPadd(KEYS, 0, 4)])({"pair": pair})
    with pytest.raises(InputError, match=r"small\.png"):
        ReadLabels(KEYS)(data)


def test_sections_show_the_middle_and_point_up() -> None:
    image = np.arange(np.prod(SHAPE)).reshape(1, *SHAPE)
    axial, coronal, sagittal = sections(image)
    assert np.array_equal(axial[0], image[0, 20])
    assert np.array_equal(coronal[0, 0], image[0, -1, 24])
    assert np.array_equal(sagittal[0, -1], image[0, 0, :, 28])
    field = np.stack([np.full(SHAPE, value) for value in (1.0, 2.0, 3.0)])
    found = [tuple(part[:, 0, 0]) for part in in_plane(field)]
    assert found == [(2, 3), (-1, 3), (-1, 2)]


def test_what_volumes_can_not_have_is_said(pair, tmp_path) -> None:
    with pytest.raises(InputError, match="registers 2-D sections"):
        ReadPaird()({"pair": pair})
    points = tmp_path / "points.csv"
    points.write_text(",X,Y\n1,2,3\n")
    marked = select_pairs(moving=pair.moving, fixed=pair.fixed, moving_landmarks=points)[0]
    with pytest.raises(InputError, match=r"points\.csv need columns X, Y and Z"):
        ReadPaird(volumes=True)({"pair": marked})
    flat = tmp_path / "flat.png"
    write_image(flat, np.zeros((1, 40, 40), np.uint8))
    with pytest.raises(InputError, match="different numbers of dimensions"):
        ReadPaird(volumes=True)({"pair": select_pairs(moving=pair.moving, fixed=flat)[0]})
    constant = tmp_path / "constant.nii.gz"
    write_image(constant, np.ones((1, 40, 40, 40), np.float32))
    data = WorkingSized(KEYS, 64)(ReadPaird(volumes=True)({"pair": select_pairs(moving=constant, fixed=constant)[0]}))
    with pytest.raises(InputError, match=r"constant\.nii\.gz: the image has no contrast"):
        GreyScaled(KEYS)(data)
