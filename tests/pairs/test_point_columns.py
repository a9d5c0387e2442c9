from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import read_point_table, write_point_table

TRUTH = np.array([[300.25, 200.5], [500.5, 350.25], [640.75, 420], [700, 300], [420, 500]])
BIGWARP = '"Pt-0","true","300.25","200.5","1.5","2.5"\n"Pt-1","false","Infinity","Infinity","3","4"\n'


def _table(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("text", "program", "unit", "stated"),
    [
        (" ,Area,Mean,X,Y\n1,1,20,300.25,200.5\n", "ImageJ", None, False),
        (",Area,X,Y\n1,1,300.25,200.5\n", "ImageJ", None, False),
        (",X,Y\n1,300.25,200.5\n", "", None, False),
        ("index,axis-0,axis-1\n0.0,200.5,300.25\n", "napari", None, False),
        ("cell_id,x_centroid,y_centroid\na,300.25,200.5\n", "Xenium", "micrometre", False),
        (
            "transcript_id,x_location,y_location,z_location\na,300.25,200.5,1\n",
            "Xenium transcripts",
            "micrometre",
            False,
        ),
        ("barcode,in_tissue,pxl_row_in_fullres,pxl_col_in_fullres\nA-1,1,200.5,300.25\n", "Visium", None, False),
        ("label,centroid-0,centroid-1\n1,200.5,300.25\n", "scikit-image", None, False),
        ("Centroid X Âµm,Centroid Y Âµm\n300.25,200.5\n", "", "micrometre", True),
    ],
)
def test_columns_of_each_program_are_known(
    tmp_path: Path, text: str, program: str, unit: str | None, stated: bool
) -> None:
    table = read_point_table(_table(tmp_path, text))
    np.testing.assert_array_equal(table.points(), [[300.25, 200.5]])
    assert (table.columns.program, table.unit, table.columns.stated) == (program, unit, stated)


def test_bigwarps_landmarks_have_no_header_and_both_images(tmp_path: Path) -> None:
    table = read_point_table(_table(tmp_path, BIGWARP))
    np.testing.assert_array_equal(table.points(), [[300.25, 200.5], [np.nan, np.nan]])
    assert any("1 points are switched off" in note for note in table.notes)
    np.testing.assert_array_equal(read_point_table(table.file, "fixed").points(), [[1.5, 2.5], [3, 4]])
    write_point_table(tmp_path / "out.csv", table.with_points(table.points() + 1))
    assert (tmp_path / "out.csv").read_text() == ("Pt-0,true,301.25,201.5,1.5,2.5\nPt-1,false,Infinity,Infinity,3,4\n")


def test_visiums_first_list_has_no_header(tmp_path: Path) -> None:
    text = "ACGCCTGACACGCGCT-1,0,0,0,200,300\nTACCGATCCAACACTT-1,1,1,1,350,500\n"
    table = read_point_table(_table(tmp_path, text))
    np.testing.assert_array_equal(table.points(), [[300, 200], [500, 350]])
    write_point_table(tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("300.25,200.5\n1,2\n", "its first row are numbers: write the names of the columns above them"),
        ("index,axis-0,axis-1,axis-2\n0,1,2,3\n", "napari's points of volumes"),
        ('"Pt-0","true","1","2","3","4","5","6"\n', "BigWarp's of volumes"),
        ("a,b\n1,2\n", "need columns X and Y, found a, b"),
        ("left,false\n1,2\n", "need columns X and Y, found left, false"),
    ],
)
def test_other_columns_are_refused_with_a_way_out(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_point_table(_table(tmp_path, text))
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("Results.csv", TRUTH), ("bigwarp.csv", TRUTH), ("german.csv", TRUTH), ("napari.csv", TRUTH), ("um.csv", TRUTH),
        ("utf16.txt", TRUTH), ("qupath1252.tsv", TRUTH), ("meas.tsv.gz", TRUTH + 0.5),
        ("xenium_cells.csv", TRUTH * 0.2125),
        ("blank.csv", np.vstack([TRUTH, np.full((2, 2), np.nan)])),
        ("nan.tsv", np.vstack([TRUTH + 0.5, np.full((1, 2), np.nan)])), ("tissue_positions.csv", TRUTH.round()),
    ],
)  # fmt: skip
def test_the_cases_are_read_as_their_makers_meant_them(shared_cases: Path, name: str, truth: np.ndarray) -> None:
    atol = 0.51 if name == "tissue_positions.csv" else 1e-9  # Visium's are whole pixels
    np.testing.assert_allclose(read_point_table(shared_cases / "point_tables" / name).points(), truth, atol=atol)
