"""The ACROBAT challenge's tables: what is read, how units change, and what each mistake is told as."""

from __future__ import annotations

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import (
    read_acrobat_points,
    read_acrobat_submission,
    read_acrobat_truth,
    write_acrobat_submission,
    write_image,
)
from custom_components.pairs.acrobat import check_inside, slide_file, slide_header, to_micrometres, to_pixels

HEADER = "anon_id,anon_filename_he,anon_filename_ihc,point_id,ihc_x,ihc_y,mpp_ihc_10X,mpp_he_10X,ihc_antibody,he_x,he_y"
ROWS = [
    "7,7_HE_val.ndpi,7_ER_val.ndpi,100,91.0,45.5,0.91,0.92,ER,,",
    "8,8_HE_val.ndpi,8_KI67_val.ndpi,101,10,20,0.5,0.5,KI67,,",
    "7,7_HE_val.ndpi,7_ER_val.ndpi,102,182.0,9.1,0.91,0.92,ER,,",
]


def markdown_table(tmp_path, *rows, header=HEADER):
    path = tmp_path / "points.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_points_are_grouped_by_pair_and_keep_their_rows(tmp_path):
    first, second = read_acrobat_points(markdown_table(tmp_path, *ROWS))
    assert (first.id, first.moving, first.fixed) == ("7_ER_val_to_7_HE_val", "7_ER_val.ndpi", "7_HE_val.ndpi")
    assert (first.point_ids, first.rows, first.anon_id, first.antibody) == (("100", "102"), (2, 4), "7", "ER")
    np.testing.assert_array_equal(first.points, [[45.5, 91.0], [9.1, 182.0]])  # row, col
    assert second.id == "8_KI67_val_to_8_HE_val"


def test_micrometres_become_pixels_and_back():
    micrometres = np.array([[45.5, 91.0], [9.1, 182.0]])
    pixels = to_pixels(micrometres, np.array([0.91, 0.91]))
    np.testing.assert_allclose(pixels, [[50, 100], [10, 200]])
    np.testing.assert_allclose(to_micrometres(pixels, np.array([0.91, 0.91])), micrometres)
    np.testing.assert_allclose(to_pixels(micrometres, (9.1, 0.91)), [[5, 100], [1, 200]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROWS[0], r"points\.csv rows 2, 5: point_id '100' must stand in one row only"),
        (ROWS[0].replace("100", "103").replace("91.0", "east"), "row 5: ihc_x is 'east', which is not a finite"),
        (ROWS[0].replace("100", "103").replace("45.5", ""), r"row 5: ihc_y is '', which is not a finite number"),
        (ROWS[0].replace("100", "103").replace("0.92", "0"), r"row 5: mpp_he_10X is 0; micrometres per pixel are pos"),
        (ROWS[0].replace("100", ""), r"row 5: point_id is empty"),
        (ROWS[0].replace("100", "103").replace("7_ER_val.ndpi", ""), r"row 5: anon_filename_ihc is empty"),
    ],
)
def test_wrong_rows_are_named_with_their_value(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_acrobat_points(markdown_table(tmp_path, *ROWS, row))


def test_wrong_tables_are_named(tmp_path):
    with pytest.raises(InputError, match=r"point table .*gone\.csv does not exist"):
        read_acrobat_points(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="has no column 'mpp_ihc_10X'; it has anon_id"):
        read_acrobat_points(markdown_table(tmp_path, *ROWS, header=HEADER.replace("mpp_ihc_10X", "mpp")))
    with pytest.raises(InputError, match="has no rows"):
        read_acrobat_points(markdown_table(tmp_path))


def test_image_is_found_by_its_stem(tmp_path):
    (tmp_path / "7_ER_val.tiff").touch()
    assert slide_file(tmp_path, "7_ER_val.ndpi", "points.csv row 2") == tmp_path / "7_ER_val.tiff"
    with pytest.raises(InputError, match=r"points\.csv row 2: there is no image of '7_HE_val\.ndpi' in .*7_HE"):
        slide_file(tmp_path, "7_HE_val.ndpi", "points.csv row 2")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_header_has_size_and_pixel_size(tmp_path, name):
    write_image(tmp_path / name, np.zeros((3, 40, 50), np.uint8), pixel_size=(0.5, 0.25))
    shape, size = slide_header(tmp_path / name)
    assert (shape, size) == ((40, 50), (pytest.approx(0.5), pytest.approx(0.25)))


def test_header_without_a_pixel_size_and_damaged_file(tmp_path):
    write_image(tmp_path / "a.tif", np.zeros((1, 40, 50), np.uint8))
    assert slide_header(tmp_path / "a.tif") == ((40, 50), None)
    (tmp_path / "b.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"b\.tif can't be read as TIFF"):
        slide_header(tmp_path / "b.tif")


def test_points_outside_are_told_with_place_size_and_a_guess(tmp_path):
    pair = read_acrobat_points(markdown_table(tmp_path, *ROWS))[0]
    pixels = to_pixels(pair.points, pair.moving_mpp)
    check_inside(pair, pixels, (50, 200), tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"points\.csv row 4: point 102 at \(182, 9\.1\) micrometres is pixel \(200"):
        check_inside(pair, pixels, (60, 150), tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"outside a\.tif of 190 x 60 pixels; 1 of 2 .* as pixels they would fit"):
        check_inside(pair, pixels, (60, 190), tmp_path / "a.tif")
    with pytest.raises(InputError, match="are they in micrometres"):
        check_inside(pair, pixels, (40, 40), tmp_path / "a.tif")


def test_submission_keeps_positions_and_drops_empty_rows(tmp_path):
    path = tmp_path / "submission.csv"
    write_acrobat_submission(path, ["5", "3", "4"], np.array([[1.5, 2.0], [3.0, 4.0], [np.nan, 1.0]]))
    assert path.read_text().splitlines() == ["point_id,he_x,he_y", "5,2.0,1.5", "3,4.0,3.0", "4,1.0,"]
    found = read_acrobat_submission(path)
    assert list(found) == ["5", "3"]
    assert found["5"].tolist() == [1.5, 2.0]
    path.write_text("point_id,he_x,he_y\n5,left,2\n")
    with pytest.raises(InputError, match=r"submission\.csv row 2: he_x is 'left'"):
        read_acrobat_submission(path)


def test_truth_has_two_annotators_and_the_extent(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(
        "anon_filename_he,anon_filename_ihc,point_id,ihc_x,ihc_y,he_x_1,he_y_1,he_x_2,he_y_2,max_he_x,max_he_y\n"
        "7_HE.ndpi,7_ER.ndpi,1,1,2,3,4,5,6,700,800\n"
    )
    truth = read_acrobat_truth(path)
    assert (truth.pair_ids, truth.point_ids) == (("7_ER_to_7_HE",), ("1",))
    assert truth.unregistered.tolist() == [[2, 1]]
    assert [a.tolist() for a in truth.annotators] == [[[4, 3]], [[6, 5]]]
    assert truth.extent.tolist() == [[800, 700]]
