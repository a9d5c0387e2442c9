"""Whatever becomes of the pixels on the way, what is written agrees with the truth: one map between two files.

A stand-in for the method knows the map from fixed to moving pixels and gives the field that it is on the working grids,
so that each error of geometry, in reading, preparing, writing or carrying over, shows as a distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, Flipd, RandAffined, Rotate90d, Spacingd, Zoomd
from scipy.ndimage import gaussian_filter, map_coordinates

from custom_components.commands.apply import apply
from custom_components.fields import Grid, apply_matrix, read_displacement, read_transform, transform_points
from custom_components.inferers.result import Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.writer import write_registration
from custom_components.pairs import Pair, read_image, read_points, select_pairs, slides, write_image, write_points
from custom_components.slides.pyramid import PyramidWriter
from custom_components.transforms import CommonPadd, GreyScaled, OntoFixedd, ReadPaird, WorkingSized, dictionary

KEYS = ["moving", "fixed"]
CLOSE = 0.05  # pixels
QUICK = (Phase.explicit, Phase.generate)  # an example takes a second: none is made smaller


def smooth(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).random(tuple(shape)), 4)
    return np.asarray((noise - noise.min()) / np.ptp(noise) * 200 + 20)


def true_map(dimensions: int, spacing: Sequence[Sequence[float]] = ()) -> np.ndarray:
    """(D+1, D+1) fixed pixels -> moving pixels: a turn, a stretch and a shift."""
    matrix = np.eye(dimensions + 1)
    matrix[:2, :2] = [[0.97, -0.06], [0.08, 1.02]]
    matrix[:2, -1] = [3.0, -2.0]
    return matrix


def along(start: Grid, end: Grid, matrix: np.ndarray, files: tuple[Grid, Grid]) -> torch.Tensor:
    """(1, D, *spatial): the map between the pixels of two files as a field from one working grid to the other."""
    index = np.stack([axis.ravel() for axis in np.indices(start.shape)], axis=1).astype(np.float64)
    pixels = apply_matrix(matrix, files[0].index(start.physical(index)))
    moved = end.index(files[1].physical(pixels))
    return torch.from_numpy((moved - index).T.reshape(1, -1, *start.shape)).float()


def registered(pair: Pair, steps: Sequence[Callable[[Any], Any]], truth: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the result of a pair whose map is known."""
    data = Compose(list(steps))({"pair": pair})
    moving, fixed = (Grid.of(data[f"working_{side}"]) for side in KEYS)
    files = tuple(data[side].meta["file_grid"] for side in KEYS)
    none = PointPairs.empty()
    forward = along(fixed, moving, truth, (files[1], files[0]))
    backward = along(moving, fixed, np.linalg.inv(truth), (files[0], files[1]))
    registration = Registration(forward, backward, none, none, ())
    return write_registration(registration, PreparedPair.of(data), Output(folder, report=False))


def steps_of(size: int, extra: Sequence[Any] = (), volumes: bool = False) -> list[Any]:
    read = ReadPaird(volumes=volumes, working_size=size)
    onto = [OntoFixedd()] if volumes else []
    return [read, *extra, WorkingSized(KEYS, size), GreyScaled(KEYS), *onto, CommonPadd(KEYS, 4, 4)]


def marks(truth: np.ndarray, fixed: Sequence[int], moving: Sequence[int], seed: int) -> np.ndarray:
    """(N, 2) row, col of the fixed image that both images show, 15 pixels or more within their borders."""
    tried = np.random.default_rng(seed).uniform(15, np.array(fixed) - 16, (400, 2))
    there = apply_matrix(truth, tried)
    return np.asarray(tried[((there > 15) & (there < np.array(moving) - 16)).all(axis=1)][:12])


def check_points(folder: Path, pair: Pair, truth: np.ndarray, shapes: tuple[Sequence[int], Sequence[int]]) -> None:
    """Landmarks, ``apply`` both ways, the stored fields and transform.h5 say where the pixels go."""
    fixed = marks(truth, *shapes, seed=1)
    moving = apply_matrix(truth, fixed)
    write_points(folder / "mine.csv", fixed)
    field = str(folder / "displacement.mha")
    there = apply(field, points=str(folder / "mine.csv"), direction="fixed_to_moving", output=str(folder / "there.csv"))
    assert np.abs(read_points(there) - moving).max() < CLOSE
    back = apply(field, points=there, output=str(folder / "back.csv"))
    assert np.abs(read_points(back) - fixed).max() < CLOSE
    assert pair.fixed_landmarks is not None
    landmarks = read_points(folder / "warped_landmarks.csv") - read_points(pair.fixed_landmarks)
    assert np.abs(landmarks).max() < CLOSE


EXTRA = {
    "nothing": [],
    "Flipd of the moving image": [Flipd(["moving"], 0)],
    "Flipd of both along different axes": [Flipd(["moving"], 1), Flipd(["fixed"], 0)],
    "Rotate90d of the moving image": [Rotate90d(["moving"], k=1)],
    "Rotate90d of the fixed image": [Rotate90d(["fixed"], k=3)],
    "Spacingd": [Spacingd(KEYS, (1.4, 1.7))],
    "Zoomd": [Zoomd(["fixed"], 0.7, keep_size=False)],
    "RandAffined of the moving image": [RandAffined(["moving"], prob=1.0, rotate_range=0.3, translate_range=6)],
    "RandAffined of the fixed image": [
        RandAffined(["fixed"], prob=1.0, rotate_range=0.2, shear_range=0.1, scale_range=0.1)
    ],
}


@pytest.mark.parametrize("name", EXTRA)
@pytest.mark.parametrize("suffix", [".png", ".ome.tif"])
def test_a_monai_transform_put_into_the_preprocessing_leaves_the_result_right(name, suffix, tmp_path):
    truth = true_map(2)
    fixed_shape, moving_shape = (97, 121), (110, 104)
    size = {".png": None, ".ome.tif": (0.5, 0.5)}[suffix]
    moving = smooth(moving_shape)
    places = apply_matrix(truth, np.argwhere(np.ones(fixed_shape)).astype(float))
    fixed = map_coordinates(moving, places.T, order=1, mode="nearest").reshape(fixed_shape)
    files: dict[str, Any] = {}
    for side, image in (("moving", moving), ("fixed", fixed)):
        files[side] = tmp_path / f"{side}{suffix}"
        write_image(files[side], image[None].round().astype(np.uint8), pixel_size=size)
    shown = marks(truth, fixed_shape, moving_shape, seed=2)
    for side, points in (("moving", apply_matrix(truth, shown)), ("fixed", shown)):
        files[f"{side}_landmarks"] = tmp_path / f"{side}.csv"
        write_points(files[f"{side}_landmarks"], points)
    pair = select_pairs(**files, id="a")[0]
    registered(pair, steps_of(90, EXTRA[name]), truth, tmp_path / "out")
    folder = tmp_path / "out" / "a"
    check_points(folder, pair, truth, (fixed_shape, moving_shape))
    warped = read_image(next(folder.glob("warped.*")))[0].numpy()
    assert warped.shape == fixed_shape
    inside = np.s_[20:-20, 20:-20]
    # what the transform itself blurs is no error of geometry
    assert np.abs(warped - fixed)[inside].mean() < (3.0 if "d" in name and "Rand" in name else 2.5)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=QUICK)
@given(
    sides=st.tuples(*[st.integers(150, 420)] * 4), sizes=st.tuples(*[st.floats(0.2, 2.0)] * 4), stated=st.booleans(),
    working=st.integers(64, 200), pyramid=st.booleans(), large=st.booleans(),
)  # fmt: skip
def test_any_size_pixel_and_level_gives_the_same_points_and_images(
    sides, sizes, stated, working, pyramid, large, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("pair")
    truth, shapes = true_map(2), {"moving": sides[:2], "fixed": sides[2:]}
    pixels: dict[str, tuple[float, float] | None] = {
        side: (step if stated else None) for side, step in (("moving", sizes[:2]), ("fixed", sizes[2:]))
    }
    moving = smooth(shapes["moving"])
    places = apply_matrix(truth, np.argwhere(np.ones(shapes["fixed"])).astype(float))
    fixed = map_coordinates(moving, places.T, order=1, mode="nearest").reshape(shapes["fixed"])
    beyond = ((places < 0) | (places > np.array(shapes["moving"]) - 1)).any(axis=1)
    files: dict[str, Any] = {}
    for side, image in (("moving", moving), ("fixed", fixed)):
        files[side], array = folder / f"{side}.ome.tif", image.round().astype(np.uint8)
        if pyramid:
            size = pixels[side]
            writer = PyramidWriter(files[side], shapes[side], 1, np.uint8, "deflate", pixel_size=size, recipe=[1])
            for row, column in writer.missing():
                writer.put(row, column, array[row : row + 512, column : column + 512, None])
            writer.finish()
        else:
            write_image(files[side], array[None], pixel_size=pixels[side])
        labels = folder / f"{side}_labels.tif"
        shown = ~beyond.reshape(array.shape) if side == "fixed" else np.True_
        write_image(labels, ((array > 110) & shown).astype(np.uint8)[None])
        files[f"{side}_labels"] = labels
    least = min(shapes["fixed"])
    placed = marks(truth, shapes["fixed"], shapes["moving"], seed=2)
    for side, points in (("moving", apply_matrix(truth, placed)), ("fixed", placed)):
        files[f"{side}_landmarks"] = folder / f"{side}.csv"
        write_points(files[f"{side}_landmarks"], points)
    pair = select_pairs(**files, id="a")[0]
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(slides, "LARGE", 100)
            patch.setattr(dictionary, "SHOWN", 64)
        metrics = registered(pair, steps_of(working), truth, folder / "out")
        check_points(folder / "out" / "a", pair, truth, (shapes["fixed"], shapes["moving"]))
    assert metrics["unit"] == ("micrometre" if stated else "pixel")
    if least / max(metrics["warped_grid"]["shape"]) < 4:  # coarse maps of small blobs say nothing of geometry
        assert metrics["dice"][1] > 0.93


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=QUICK)
@given(seed=st.integers(0, 1000), flip=st.sampled_from([(), (0,), (1, 2)]), order=st.permutations([0, 1, 2]))
def test_a_volume_stored_otherwise_gives_the_same_field_in_millimetres(seed, flip, order, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("volume"), np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    shape, image = (40, 44, 48), smooth((40, 44, 48))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * rng.uniform(0.8, 2.0, 3), rng.uniform(-40, 40, 3)
    plain = Grid(shape, matrix, "millimetre", known=True)
    # stored with axes permuted and flipped: the same content in space
    stored = np.flip(image.transpose(order), flip)
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, old in enumerate(order):
        step[old, new] = -1 if new in flip else 1
        step[old, 3] += shape[old] - 1 if new in flip else 0
    other = Grid(stored.shape, plain.matrix @ step, "millimetre", known=True)
    labels = (image > 120).astype(np.uint8)
    write_image(folder / "fixed.nii.gz", image[None].astype(np.float32), plain.matrix)
    write_image(folder / "moving.nii.gz", stored[None].astype(np.float32), other.matrix)
    write_image(folder / "labels.nii.gz", labels[None], plain.matrix)
    names = {"moving": "moving", "fixed": "fixed", "moving_labels": "labels", "fixed_labels": "labels"}
    pair = select_pairs(**{key: folder / f"{name}.nii.gz" for key, name in names.items()}, id="a")[0]
    # fixed pixels -> moving pixels of no motion in space
    metrics = registered(pair, steps_of(64, volumes=True), plain.to(other), folder / "out")
    warped = read_image(folder / "out" / "a" / "warped.nii.gz")
    assert np.abs(warped[0].numpy() - image).max() < 0.5
    assert metrics["dice"][1] > 0.999
    found = read_displacement(folder / "out" / "a" / "displacement.nii.gz")
    points = plain.physical(rng.uniform(5, 35, (20, 3)))
    assert np.abs(transform_points(found, points) - points).max() < 1e-2
    transform = read_transform(folder / "out" / "a" / "transform.h5")
    assert np.abs(np.array([transform.TransformPoint(p) for p in points.tolist()]) - points).max() < 1e-2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_keeps_spacing_and_pose(axis, tmp_path):
    image, truth = smooth((90, 80)), np.eye(3)
    matrix = np.array([[0, 0.2, 1.5, 4], [-1.2, 0, 0.1, -9], [0, 0.9, -0.3, 2], [0, 0, 0, 1]])[:, [*range(4)]]
    u, _, vt = np.linalg.svd(matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0))
    matrix[:3, :3] = (u @ vt) * [1.2, 0.9, 1.6]
    for side in KEYS:
        write_image(tmp_path / f"{side}.nii.gz", np.expand_dims(image[None], 1 + axis).astype(np.float32), matrix)
    pair = select_pairs(moving=tmp_path / "moving.nii.gz", fixed=tmp_path / "fixed.nii.gz", id="a")[0]
    read = read_image(pair.fixed)
    assert read.shape == (1, 90, 80)
    spacing = np.delete([1.2, 0.9, 1.6], axis)
    np.testing.assert_allclose(Grid.of(read).spacing, spacing, rtol=1e-4)
    registered(pair, steps_of(90), truth, tmp_path / "out")
    import itk

    written, given_ = (itk.imread(str(f)) for f in (tmp_path / "out" / "a" / "warped.nii.gz", pair.fixed))
    for part in ("GetSpacing", "GetOrigin"):
        np.testing.assert_allclose(list(getattr(written, part)()), list(getattr(given_, part)()), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        itk.array_from_matrix(written.GetDirection()), itk.array_from_matrix(given_.GetDirection()), atol=1e-4
    )
    np.testing.assert_allclose(itk.array_from_image(written), itk.array_from_image(given_), atol=0.1)
