"""Points and annotations of a request become the files that the command line would have been given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from custom_components.pairs import read_geojson, read_points, write_points
from custom_components.serving import RequestError, attach_files

PLACE = {"type": "Point", "coordinates": [1.5, 2.5]}


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    write_points(folder / "marks.csv", np.array([[1.0, 2.0], [3.0, 4.0]]))
    (folder / "regions.geojson").write_text(json.dumps(PLACE))
    (folder / "words.csv").write_text("hello")
    return folder


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_points_come_as_x_y_and_lie_as_row_col(studies, scratch):
    files = attach_files({"points": [[1 / 3, 20], [3, 4]], "fixed_points": [[5, 6], [7, 8]]}, studies, scratch)
    assert set(files) == {"moving_landmarks", "fixed_landmarks"}
    np.testing.assert_array_equal(read_points(files["moving_landmarks"]), [[20, 1 / 3], [4, 3]])


def test_annotations_are_kept_as_sent(studies, scratch):
    file = attach_files({"annotations": PLACE}, studies, scratch)["moving_annotations"]
    assert read_geojson(file) == PLACE


def test_names_are_those_of_files_of_the_studies_folder(studies, scratch):
    files = attach_files({"points": "marks.csv", "annotations": "regions.geojson"}, studies, scratch)
    assert files == {
        "moving_landmarks": studies / "marks.csv",
        "moving_annotations": studies / "regions.geojson",
    }


def test_what_is_left_empty_is_not_attached(studies, scratch):
    assert attach_files({"points": None, "annotations": "", "fixed": "x"}, studies, scratch) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"points": [[1, 2, 3]]}, r"^points: are \[\[x, y\]"),
        ({"points": [[1, float("nan")]]}, r"^points: are \[\[x, y\]"),
        ({"points": 7}, r"^points: are \[\[x, y\]"),
        ({"points": {"x": 1}}, r"^points: are \[\[x, y\]"),
        ({"points": []}, r"^points: "),
        ({"points": "absent.csv"}, "^points: there is no file 'absent.csv'"),
        ({"points": "words.csv"}, "^points: .*need columns X and Y"),
        ({"points": "../studies/marks.csv"}, "^points: .*not the name of a file"),
        ({"fixed_points": [[1, 2]]}, "^fixed_points: need points"),
        ({"annotations": {"type": "Circle"}}, "^annotations: .*'Circle' is unknown"),
        ({"annotations": {"type": "Point", "coordinates": ["$x", 1]}}, "^annotations: .*where a position"),
        ({"annotations": 7}, "^annotations: "),
    ],
)
def test_what_can_not_be_carried_is_refused_by_name(given, reason, studies, scratch):
    with pytest.raises(RequestError, match=reason) as refused:
        attach_files(given, studies, scratch)
    assert 400 <= refused.value.status < 500
