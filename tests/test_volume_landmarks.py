"""Landmarks of volumes against a known map between grids of any orientation: registration, apply and the Python API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import warpzoo
from custom_components.commands.apply import apply
from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import check_attached
from custom_components.fields import Grid
from custom_components.handlers.writing import format_line
from custom_components.inferers.result import Registration
from custom_components.matching.point_pairs import PointPairs
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.report_again import write_report_again
from custom_components.outputs.summary import write_summary
from custom_components.outputs.writer import write_registration
from custom_components.pairs import select_pairs, write_image
from custom_components.pairs.volume_points import LPS_RAS, from_voxels, read_volume_points
from custom_components.transforms import ReadPaird

TOLERANCE = 0.05  # millimetres
SHAPE = (24, 26, 28)  # slice, row, column, of both: working images have one shape
WAVE, LENGTH = 2.0, 90.0  # of the bend, millimetres
MM = {"lps": np.ones(3), "ras": LPS_RAS}


@dataclass
class Known:
    """The known map, LPS millimetres: a bend along one axis that depends on another, then an affine."""

    affine: np.ndarray
    shift: np.ndarray

    def bend(self, points: np.ndarray, sign: int) -> np.ndarray:
        moved = points.copy()
        moved[:, 0] += sign * WAVE * np.sin(2 * np.pi * points[:, 2] / LENGTH)
        return moved

    def to_moving(self, points: np.ndarray) -> np.ndarray:
        return self.bend(points, 1) @ self.affine.T + self.shift

    def to_fixed(self, points: np.ndarray) -> np.ndarray:
        return self.bend((points - self.shift) @ np.linalg.inv(self.affine).T, -1)


def oriented(shape: tuple[int, ...], spacing: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> Grid:
    """A grid about ``centre`` whose array axes run along ``rotation``'s columns."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, matrix, "millimetre", known=True)


def field(start: Grid, end: Grid, way) -> torch.Tensor:
    index = np.stack([a.ravel() for a in np.indices(start.shape)], axis=1).astype(np.float64)
    moved = end.index(way(start.physical(index))) - index
    return torch.from_numpy(moved.T.reshape(1, 3, *start.shape)).float()


def registered(folder: Path, moving: Grid, fixed: Grid, known: Known, report: bool = False, error=None, **files):
    """A pair on disk whose registration is the known map, with an error estimate; returns (pair, metrics)."""
    paths = {}
    for side, grid in (("moving", moving), ("fixed", fixed)):
        paths[side] = folder / f"{side}.nii.gz"
        write_image(paths[side], np.random.default_rng(0).random((1, *grid.shape), np.float32), grid.matrix)
    pair = select_pairs(**({} if "pairs" in files else {**paths, "id": "pair"}), **files)[0]
    check_attached(pair)
    data = ReadPaird(volumes=True)({"pair": pair})
    for side in ("moving", "fixed"):
        data[f"working_{side}"] = data[side]
        data[f"mask_{side}"] = torch.ones_like(torch.as_tensor(data[side]))
    grids = [Grid.of(data[side]) for side in ("moving", "fixed")]
    result = Registration(
        field(grids[1], grids[0], known.to_moving), field(grids[0], grids[1], known.to_fixed),
        PointPairs.empty(3), PointPairs.empty(3), (), error,
    )  # fmt: skip
    return pair, write_registration(result, PreparedPair.of(data), Output(folder / "out", report=report))


def case(order=(0, 1, 2), flips=(1, 1, 1), turn=(0.0, 0.0, 0.0), spacing=(2.0, 2.1, 2.5)) -> tuple[Grid, Grid, Known]:
    """(moving, fixed, map): the fixed grid is axial, the moving one as asked for."""
    centre = np.array([30.0, -12.0, 55.0])
    known = Known(Rotation.from_euler("xyz", (5, -8, 11), degrees=True).as_matrix() * (1.05, 0.97, 1.0), np.ones(3) * 4)
    fixed = oriented(SHAPE, np.array([1.5, 1.4, 1.2]), np.eye(3)[:, ::-1], centre)
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()[:, list(order)] * flips
    there = known.to_moving(centre[None])[0]
    return oriented(SHAPE, np.array(spacing), axes, there), fixed, known


def inside(grid: Grid, count: int = 7) -> np.ndarray:
    """(N, 3) LPS, well inside of a grid."""
    voxels = np.random.default_rng(1).uniform(0.25, 0.75, (count, 3)) * grid.shape
    return grid.physical(voxels)


def write_csv(file: Path, points: np.ndarray) -> Path:
    rows = [f"p{n},{x!r},{y!r},{z!r}" for n, (x, y, z) in enumerate(points.tolist())]
    file.write_text("\n".join([",X,Y,Z", *rows]) + "\n")
    return file


def given_in(space: str, lps: np.ndarray, grid: Grid) -> np.ndarray:
    return from_voxels(grid.index(lps), space, grid)


@settings(max_examples=12)
@given(
    order=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(*[st.sampled_from((1, -1))] * 3),
    turn=st.tuples(*[st.floats(-35, 35)] * 3),
    spacing=st.tuples(*[st.floats(2.0, 2.6)] * 3),
    space=st.sampled_from(("lps", "ras", "voxel")),
)
def test_any_orientation_both_ways(order, flips, turn, spacing, space) -> None:
    moving, fixed, known = case(order, flips, turn, spacing)
    on_fixed = inside(fixed)
    on_moving = known.to_moving(on_fixed)
    with TemporaryDirectory() as made:
        folder = Path(made)
        files = {
            "moving_landmarks": write_csv(folder / "m.csv", given_in(space, on_moving, moving)),
            "fixed_landmarks": write_csv(folder / "f.csv", given_in(space, on_fixed, fixed)),
        }
        pair, metrics = registered(folder, moving, fixed, known, point_space=space, **files)
        out = folder / "out" / pair.id
        marks = metrics["landmarks"]
        assert marks["unit"] == "millimetre"
        assert marks["max"] < TOLERANCE
        before = np.linalg.norm(on_moving - on_fixed, axis=1)
        assert marks["initial_mean"] == pytest.approx(before.mean(), abs=TOLERANCE)
        assert (marks["count"], marks["robustness"]) == (7, 1.0)
        carried = read_volume_points(out / "warped_landmarks.csv", space)
        assert carried.names == tuple(f"p{n}" for n in range(7))
        scale = fixed.spacing.max() if space == "voxel" else 1.0
        np.testing.assert_allclose(carried.points, given_in(space, on_fixed, fixed), atol=TOLERANCE * scale)
        # and back, by the command line and by Python
        back = apply(str(out), points=str(files["fixed_landmarks"]), unit=space, direction="fixed_to_moving")
        found = read_volume_points(back, space).points
        wanted = given_in(space, on_moving, moving)
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
        again = warpzoo.open(out).points(given_in(space, on_fixed, fixed), "fixed_to_moving", space=space)
        np.testing.assert_allclose(again, found, atol=1e-3)
        if space == "voxel":
            np.testing.assert_allclose(warpzoo.open(out).points(given_in(space, on_fixed, fixed), "fixed_to_moving"),
                                       again)  # fmt: skip


@pytest.mark.parametrize("space", ["lps", "ras", "voxel"])
def test_the_column_of_a_pair_table_is_the_space_of_its_rows(space: str, tmp_path: Path) -> None:
    moving, fixed, known = case()
    on_fixed = inside(fixed)
    write_csv(tmp_path / "m.csv", given_in(space, known.to_moving(on_fixed), moving))
    write_csv(tmp_path / "f.csv", given_in(space, on_fixed, fixed))
    (tmp_path / "pairs.csv").write_text(
        "id,moving,fixed,moving_landmarks,fixed_landmarks,point_space\n"
        f"pair,moving.nii.gz,fixed.nii.gz,m.csv,f.csv,{space}\n"
    )
    other = "voxel" if space == "lps" else "lps"
    _, metrics = registered(tmp_path, moving, fixed, known, pairs=tmp_path / "pairs.csv", point_space=other)
    assert metrics["landmarks"]["max"] < TOLERANCE


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_fiducials_of_slicer_state_their_space(system: str, tmp_path: Path) -> None:
    moving, fixed, known = case(order=(2, 0, 1), flips=(1, -1, 1), turn=(10, 20, -5))
    on_fixed = inside(fixed, 4)
    signs = MM[system.lower()]
    controls = [{"label": f"F-{n}", "position": list(p)} for n, p in enumerate(known.to_moving(on_fixed) * signs)]
    file = tmp_path / "F.mrk.json"
    file.write_text(json.dumps({"markups": [{"coordinateSystem": system, "controlPoints": controls}]}))
    rows = [f"{n},{x},{y},{z},0,0,0,1,1,1,0,F-{n},," for n, (x, y, z) in enumerate((on_fixed * signs).tolist())]
    other = tmp_path / "F.fcsv"
    other.write_text("\n".join([f"# CoordinateSystem = {system}", *rows]))
    pair, metrics = registered(tmp_path, moving, fixed, known, moving_landmarks=file, fixed_landmarks=other)
    assert metrics["landmarks"]["max"] < TOLERANCE
    assert metrics["landmark_spaces"] == dict.fromkeys(("moving", "fixed"), system.lower())
    out = tmp_path / "out" / pair.id
    carried = read_volume_points(out / "warped_landmarks.csv", system)
    np.testing.assert_allclose(carried.points * signs, on_fixed, atol=TOLERANCE)
    same = read_volume_points(apply(str(out), points=str(file)))
    assert (same.file.name, same.space) == ("warped_F.mrk.json", system.lower())
    np.testing.assert_allclose(same.points, carried.points, atol=1e-3)
    back = read_volume_points(apply(str(out), points=str(other), direction="fixed_to_moving"))
    np.testing.assert_allclose(back.points * signs, known.to_moving(on_fixed), atol=TOLERANCE)


@pytest.fixture
def two_files(tmp_path: Path) -> dict[str, Path]:
    _, fixed, known = case()
    places = inside(fixed)
    places[0] = fixed.physical(np.array([[10.0, 10.0, 60.0]]))[0]  # beyond the fixed volume
    return {
        "moving_landmarks": write_csv(tmp_path / "m.csv", known.to_moving(places)),
        "fixed_landmarks": write_csv(tmp_path / "f.csv", places),
    }


def test_errors_are_shown_in_millimetres(two_files, tmp_path: Path) -> None:
    moving, fixed, known = case()
    pair, metrics = registered(tmp_path, moving, fixed, known, report=True, point_space="lps", **two_files)
    assert any("1 of 7 landmarks reach beyond the fixed image (28 x 26 x 24 voxels)" in n for n in metrics["notes"])
    line = format_line(metrics)
    assert "mean TRE " in line
    assert line.count(" mm") == 2
    page = (tmp_path / "out" / pair.id / "report.html").read_text(encoding="utf-8")
    assert "reach beyond the fixed image" in page
    assert "mean TRE" in page
    assert page.count(" mm</td>") >= 16
    summary = write_summary(tmp_path / "out")
    assert summary["scored"] is None
    assert summary["scored_volumes"]["millimetre"]["pairs"] == 1
    assert "TRE_mm_mean" in (tmp_path / "out" / "summary.csv").read_text().splitlines()[0]
    assert " mm</td>" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    stored = warpzoo.open(tmp_path / "out" / pair.id).stored
    again = write_report_again(stored.folder, metrics, stored.field())
    assert again.read_text(encoding="utf-8").count(" mm</td>") == page.count(" mm</td>")


def test_what_can_not_be_carried_is_said_in_one_line(two_files, tmp_path: Path) -> None:
    moving, fixed, known = case()
    pair, _ = registered(tmp_path, moving, fixed, known)
    out, points = tmp_path / "out" / pair.id, str(two_files["moving_landmarks"])
    for options, said in (
        ({}, "does not say what its X, Y, Z are"),
        ({"unit": "micrometre"}, "lps, ras or voxel, got 'micrometre'"),
        ({"unit": "lps", "origin": "corner"}, "--origin is of sections"),
    ):
        with pytest.raises(InputError, match=said):
            apply(str(out), points=points, **options)
    with pytest.raises(InputError, match="GeoJSON is of sections"):
        apply(str(out), geojson=points)
    with pytest.raises(InputError, match=r"m\.csv does not say"):
        registered(tmp_path, moving, fixed, known, **two_files)
    (tmp_path / "a.geojson").write_text('{"type": "Point", "coordinates": [1, 2]}')
    with pytest.raises(InputError, match=r"a\.geojson: annotations are of sections"):
        registered(tmp_path, moving, fixed, known, moving_annotations=tmp_path / "a.geojson")


def test_the_expected_error_of_volumes_is_in_millimetres(two_files, tmp_path: Path) -> None:
    moving, fixed, known = case(order=(2, 0, 1), flips=(1, -1, 1), turn=(10, 20, -5))
    # half a voxel and more from slice to slice; a voxel is taken for its longest side
    error = torch.stack([0.5 + 0.1 * torch.arange(24.0), torch.full((24,), 3.0)]).reshape(1, 2, 24, 1, 1)
    error = error.expand(1, 2, *SHAPE).contiguous()
    pair, metrics = registered(tmp_path, moving, fixed, known, True, error, point_space="lps", **two_files)
    side = fixed.spacing.max()
    figures = metrics["expected_error"]
    assert figures == {
        "median": pytest.approx((0.5 + 0.1 * 11.5) * side, rel=1e-5), "p95": pytest.approx(3 * side, rel=1e-5),
        "unit": "millimetre", "unknown_share": 0.0,
        "beyond_bound": pytest.approx(1 / 7),  # the one far outside of the field
        "share": pytest.approx(figures["median"] / np.linalg.norm(fixed.spacing * SHAPE), rel=0.3),
    }  # fmt: skip
    assert f"typical error {figures['median']:.1f} mm" in format_line(metrics)
    result = warpzoo.open(tmp_path / "out" / pair.id)
    lps = inside(fixed)
    found = result.point_errors(known.to_moving(lps), space="lps")
    np.testing.assert_allclose(found[:, 0], (0.5 + 0.1 * fixed.index(lps)[:, 0]) * side, atol=0.02)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert f"typical error {figures['median']:.1f} mm, 95 % of places below {figures['p95']:.1f} mm" in page
    write_summary(tmp_path / "out")
    assert "expected_error_median_mm,expected_error_p95_mm" in (tmp_path / "out" / "summary.csv").read_text()
