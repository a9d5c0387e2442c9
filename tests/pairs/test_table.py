from __future__ import annotations

from pathlib import Path

import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import check_pair, read_pairs, select_pairs
from custom_components.pairs.table import check_ids


def _table(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_table_and_further_columns_are_kept(tmp_path: Path) -> None:
    path = _table(tmp_path, "id,moving,fixed,moving_landmarks,tissue\na,he.png,ihc.png,,lung\nb,c.png,d.png,l.csv,\n")
    first, second = read_pairs(path)
    assert (first.id, first.moving, first.fixed) == ("a", tmp_path / "he.png", tmp_path / "ihc.png")
    assert first.moving_landmarks is None
    assert second.moving_landmarks == tmp_path / "l.csv"
    assert dict(first.extra) == {"tissue": "lung"}
    assert second.source == "pairs.csv row 3"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "a.png"
    assert read_pairs(_table(tmp_path, f"id,moving,fixed\na,{other},b.png\n"))[0].moving == other


def test_a_byte_order_mark_and_spaces_do_no_harm(tmp_path: Path) -> None:
    path = _table(tmp_path, "")
    path.write_text("id, moving, fixed\nx , a.png, b.png\n", encoding="utf-8-sig")
    assert read_pairs(path)[0].id == "x"
    assert read_pairs(path)[0].fixed == tmp_path / "b.png"


def test_the_cover_table_moves_source_onto_target(tmp_path: Path) -> None:
    pair = read_pairs(
        _table(
            tmp_path,
            ",Target image,Source image,Target landmarks,Source landmarks,status\n7,t.jpg,s.jpg,t.csv,s.csv,training\n",
        )
    )[0]
    assert (pair.id, pair.moving.name, pair.fixed.name) == ("7", "s.jpg", "t.jpg")
    assert pair.moving_landmarks == tmp_path / "s.csv"
    assert pair.fixed_landmarks == tmp_path / "t.csv"
    assert pair.extra["status"] == "training"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,moving,fixd\na,b,c\n", "no column 'fixed'; it has id, moving, fixd"),
        ("id,moving,fixed\n", "no rows"),
        ("", "can't be read as CSV"),
        ("id,moving,fixed\na,b,c\na,d,e\n", "id 'a' stands in more than one row"),
        ("id,moving,fixed\na,b,c\nd/e,b,c\n", r"row 3: id 'd/e' can't name a folder"),
        ("id,moving,fixed\n..,b,c\n", "can't name a folder"),
        ("id,moving,fixed\n,b,c\n", "can't name a folder"),
        ("id,moving,fixed\na:b,b,c\n", "can't name a folder"),
        ("id,moving,fixed\na,,c\n", "row 2: column 'moving' is empty"),
        ("id,moving,fixed\na,b\n", "row 2: column 'fixed' is empty"),
        ("id,moving,fixed\na,b,c,d\n", "more cells than the header"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(_table(tmp_path, text))
    assert "pairs.csv" in str(caught.value)


def test_a_missing_table_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist"):
        read_pairs(tmp_path / "nowhere.csv")
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"bytes\.csv can't be read"):
        read_pairs(tmp_path / "bytes.csv")


def test_a_missing_file_is_named_with_its_row_when_the_pair_is_checked(tmp_path: Path) -> None:
    (tmp_path / "b.tif").touch()
    pair = read_pairs(_table(tmp_path, "id,moving,fixed\nx,a.tif,b.tif\n"))[0]
    with pytest.raises(InputError, match=r"pairs\.csv row 2: moving image 'a\.tif' does not exist \(looked in ") as e:
        check_pair(pair)
    assert str(tmp_path.resolve()) in str(e.value)
    (tmp_path / "a.tif").touch()
    check_pair(pair)


def test_missing_landmarks_are_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    pair = select_pairs(moving=tmp_path / "a", fixed=tmp_path / "b", fixed_landmarks=tmp_path / "l.csv")[0]
    with pytest.raises(InputError, match=r"^fixed landmarks 'l\.csv' does not exist"):
        check_pair(pair)


def test_one_pair_of_the_command_line_is_named_by_its_images() -> None:
    pair = select_pairs(moving="he.svs.tif", fixed="ihc.png", moving_annotations="r.geojson")[0]
    assert pair.id == "he.svs_to_ihc"
    assert pair.moving_annotations == Path("r.geojson")
    assert select_pairs(moving="a", fixed="b", id="mine")[0].id == "mine"


@pytest.mark.parametrize("suffix", [".ome.tif", ".OME.TIFF", ".ome.zarr", ".nii.gz", ".svs"])
def test_a_suffix_of_two_parts_is_no_part_of_the_id(suffix: str) -> None:
    assert select_pairs(moving=f"slides/IHC{suffix}", fixed="HE.2.ome.tif")[0].id == "IHC_to_HE.2"


def test_a_table_of_the_command_line_may_be_cut_to_a_status(tmp_path: Path) -> None:
    path = _table(tmp_path, "id,moving,fixed,status\na,b,c,training\nd,e,f,evaluation\n")
    assert [p.id for p in select_pairs(path)] == ["a", "d"]
    assert [p.id for p in select_pairs(path, status="evaluation")] == ["d"]
    with pytest.raises(InputError, match="no row with status 'x'"):
        select_pairs(path, status="x")


def test_each_row_has_its_space_of_points_and_the_option_is_for_those_without(tmp_path: Path) -> None:
    path = _table(tmp_path, "id,moving,fixed,point_space,tissue\na,b,c, RAS,lung\nd,e,f,,liver\n")
    assert [pair.point_space for pair in read_pairs(path)] == ["ras", None]
    assert [pair.point_space for pair in select_pairs(path, point_space="voxel")] == ["ras", "voxel"]
    assert [dict(pair.extra) for pair in read_pairs(path)] == [{"tissue": "lung"}, {"tissue": "liver"}]
    with pytest.raises(InputError, match=r"pairs\.csv row 2: points of volumes are in lps, ras or voxel, got 'mm'"):
        read_pairs(_table(tmp_path, "id,moving,fixed,point_space\na,b,c,mm\n"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give --moving IMAGE and --fixed IMAGE, or --pairs"),
        ({"moving": "a"}, "give --moving IMAGE and --fixed"),
        ({"pairs": "p.csv", "moving": "a", "fixed": "b"}, "not both"),
        ({"moving": "a", "fixed": "b", "moving_mark": "c"}, "unknown argument 'moving_mark'"),
        ({"moving": "a", "fixed": "b", "id": "x/y"}, "can't name a folder"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_pairs(**arguments)


@pytest.mark.parametrize(
    "identifier",
    ["CON", "con.txt", "NUL", "COM1", "lpt9.tar.gz", "a.", "a ", "x" * 201, "ä" * 101, "a<b", "a|b", "a?b", ".a"],
)
def test_ids_that_no_folder_can_have_on_some_system_are_refused(identifier):
    with pytest.raises(InputError, match="can't name a folder"):
        check_ids([identifier], "pairs.csv")


def test_ids_that_one_system_takes_for_one_folder_are_refused():
    for twins in (["A", "a"], ["stra\u00dfe", "STRASSE"], ["\u00e9", "e\u0301"]):
        with pytest.raises(InputError, match="are one folder on some systems"):
            check_ids(twins, "pairs.csv")
    with pytest.raises(InputError, match=r"row 3: id 'Pairs' is the name of another output"):
        check_ids(["a", "Pairs"], "pairs.csv", ("pairs",))
    check_ids(["console", "com", "x" * 200, "a.b"], "pairs.csv", ("pairs",))
