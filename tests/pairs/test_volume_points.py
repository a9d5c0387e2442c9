"""Points of volumes: what files say, and their way to voxels and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.fields import Grid, index_to_physical
from custom_components.pairs.volume_points import (
    check_space,
    from_voxels,
    place_notes,
    read_volume_points,
    to_voxels,
    write_volume_points,
)

POINTS = np.array([[1.5, -2.25, 30.0], [4.0, 5.0, 6.0]])
FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,1.5,-2.25,30.0,0,0,0,1,1,1,0,tip,"a, b",
2,4,5,6,0,0,0,1,1,1,0,F-2,,node1
"""


def markups(**changes) -> dict:
    markup = {
        "type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "measurements": [{"name": "x"}],
        "controlPoints": [
            {"id": "1", "label": "tip", "position": [1.5, -2.25, 30.0], "positionStatus": "defined", "locked": True},
            {"id": "2", "label": "", "position": [4, 5, 6], "positionStatus": "defined"},
        ],
    } | changes  # fmt: skip
    return {"@schema": "https://slicer.org/schema#", "markups": [markup]}


@pytest.mark.parametrize(
    ("system", "space"), [("LPS", "lps"), ("RAS", "ras"), ("0", "ras"), ("1", "lps"), ("IJK", "voxel")]
)
def test_fcsv_states_its_space_and_keeps_all_else(system: str, space: str, tmp_path: Path) -> None:
    file = tmp_path / "F.fcsv"
    file.write_text(FCSV.format(system=system))
    found = read_volume_points(file)
    np.testing.assert_array_equal(found.points, POINTS)
    assert (found.space, found.names) == (space, ("tip", "F-2"))
    write_volume_points(tmp_path / "again.fcsv", found, POINTS + 1)
    again = (tmp_path / "again.fcsv").read_text()
    assert again.splitlines()[:3] == FCSV.format(system=system).splitlines()[:3]
    assert '1,2.5,-1.25,31.0,0,0,0,1,1,1,0,tip,"a, b",' in again
    np.testing.assert_array_equal(read_volume_points(tmp_path / "again.fcsv").points, POINTS + 1)


@pytest.mark.parametrize(("system", "space"), [("LPS", "lps"), ("RAS", "ras")])
def test_markups_state_their_space_and_keep_all_else(system: str, space: str, tmp_path: Path) -> None:
    file = tmp_path / "F.mrk.json"
    file.write_text(json.dumps(markups(coordinateSystem=system)))
    found = read_volume_points(file)
    np.testing.assert_array_equal(found.points, POINTS)
    assert (found.space, found.names) == (space, ("tip", "2"))
    write_volume_points(tmp_path / "again.mrk.json", found, POINTS + 1)
    again = json.loads((tmp_path / "again.mrk.json").read_text())["markups"][0]
    assert again["controlPoints"][0] == {
        "id": "1", "label": "tip", "position": [2.5, -1.25, 31.0], "positionStatus": "defined", "locked": True
    }  # fmt: skip
    assert again["coordinateSystem"] == system
    assert "measurements" not in again


def test_tables_keep_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("name;X;Y;Z;size\ntip;1.5;-2.25;30;7\nend;4;5;6;8\n")
    found = read_volume_points(file, "LPS")
    np.testing.assert_array_equal(found.points, POINTS)
    assert (found.space, found.names) == ("lps", ("tip", "end"))
    write_volume_points(tmp_path / "again.csv", found, POINTS)
    assert (tmp_path / "again.csv").read_text() == (
        "name;X;Y;Z;size\ntip;1.5;-2.25;30.0;7\nend;4.0;5.0;6.0;8\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "space", "said"),
    [
        ("a.csv", "X,Y,Z\n1,2,3\n", None, "does not say what its X, Y, Z are"),
        ("a.csv", "X,Y\n1,2\n", "lps", "need columns X, Y and Z"),
        ("a.csv", "X,Y,Z\n1,2,\n", "lps", "point 1 has no finite"),
        ("a.csv", "Centroid X µm,Centroid Y µm,Z\n1,2,3\n", "lps", "which are not lps"),
        ("a.csv", "X,Y,Z\n1,2,3\n", "mni", "lps, ras or voxel, got 'mni'"),
        ("a.fcsv", FCSV.format(system="LPS"), "ras", "states that its points are in lps, not ras"),
        ("a.fcsv", FCSV.format(system="MNI"), None, "no coordinate system that is known: 'MNI'"),
        ("a.fcsv", "# CoordinateSystem = LPS\n1,a,b,c\n", None, "can't be read as fiducials"),
        ("a.fcsv", "# CoordinateSystem = LPS\n", None, "hold no points"),
        ("a.mrk.json", "{", None, "can't be read as fiducials"),
        ("a.mrk.json", "[1]", None, "can't be read as fiducials"),
        ("a.mrk.json", json.dumps({"markups": []}), None, "hold 0 lists"),
        ("a.mrk.json", json.dumps(markups(controlPoints=[])), None, "hold no points"),
        ("a.mrk.json", json.dumps(markups(coordinateUnits="cm")), None, "save them in mm"),
        (
            "a.mrk.json",
            json.dumps(markups(controlPoints=[{"position": [0, 0, 0], "positionStatus": "undefined"}])),
            None,
            "point 1 was not placed",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, text: str, space: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_volume_points(tmp_path / name, space)
    assert "\n" not in str(error.value)


def test_missing_files_and_spaces() -> None:
    with pytest.raises(InputError, match=r"nowhere\.fcsv do not exist"):
        read_volume_points("nowhere.fcsv")
    assert check_space(None) is None
    assert check_space(" RAS ") == "ras"


def test_spaces_are_those_of_itk_and_nifti() -> None:
    """A voxel's LPS position is ITK's; RAS turns the first two axes about; voxels are column, row, slice."""
    grid = Grid((10, 20, 30), index_to_physical((0.5, 2.0, 3.0), (10.0, 20.0, 30.0)), "millimetre", known=True)
    voxel = np.array([[4.0, 5.0, 6.0]])  # slice, row, column
    lps = from_voxels(voxel, "lps", grid)
    np.testing.assert_allclose(lps, [[10 + 6 * 0.5, 20 + 5 * 2, 30 + 4 * 3]])
    np.testing.assert_allclose(from_voxels(voxel, "ras", grid), lps * [-1, -1, 1])
    np.testing.assert_allclose(from_voxels(voxel, "voxel", grid), [[6, 5, 4]])
    for space in ("lps", "ras", "voxel"):
        np.testing.assert_allclose(to_voxels(from_voxels(voxel, space, grid), space, grid), voxel)
    assert place_notes("lps", {"fixed": grid}) == []
    (note,) = place_notes("ras", {"moving": replace(grid, known=False), "fixed": grid})
    assert "the moving image does not state where it lies" in note
    assert place_notes("voxel", {"moving": replace(grid, known=False)}) == []
    with pytest.raises(InputError, match="the fixed image has no millimetres"):
        to_voxels(lps, "lps", Grid((10, 20, 30), np.eye(4)), "the fixed image")
