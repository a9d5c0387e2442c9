"""Which sections a user means, and what is wrong with what he gave."""

from __future__ import annotations

import numpy as np
import pytest

from custom_components.common.errors import InputError
from custom_components.pairs import write_image, write_points
from custom_components.series.sections import make_pair, pair_id, read_sections


@pytest.fixture
def folder(tmp_path):
    for name in ("one.png", "two.ome.tif", "three.png"):
        write_image(tmp_path / name, np.zeros((1, 40, 40), np.uint8))
    write_points(tmp_path / "few.csv", np.ones((2, 2)))
    write_points(tmp_path / "many.csv", np.ones((3, 2)))
    return tmp_path


def markdown_table(folder, text):
    (folder / "sections.csv").write_text(text)
    return folder / "sections.csv"


@pytest.mark.parametrize("form", [lambda names: ",".join(names), tuple, lambda names: ", ".join(names)])
def test_a_list_keeps_its_order_and_names_sections_by_their_files(folder, form):
    sections = read_sections(form([str(folder / name) for name in ("two.ome.tif", "three.png", "one.png")]))
    assert [section.id for section in sections] == ["two", "three", "one"]
    assert sections[0].image == folder / "two.ome.tif"


def test_a_table_names_sections_and_what_goes_with_them_relative_to_itself(folder):
    sections = read_sections(markdown_table(folder, "image,id,landmarks\none.png,x,few.csv\nthree.png,,\n"))
    assert [(section.id, section.landmarks) for section in sections] == [("x", folder / "few.csv"), ("three", None)]
    pair = make_pair(sections[1], sections[0], pair_id(sections[1], sections[0]))
    assert (pair.id, pair.moving, pair.fixed) == ("three_to_x", folder / "three.png", folder / "one.png")
    assert (pair.moving_landmarks, pair.fixed_landmarks) == (None, folder / "few.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,file\na,one.png\n", r"has no column 'image'; it has id, file"),
        ("image\none.png\n", "two sections or more, sections.csv names 1"),
        ("id,image\na,one.png\nb,\n", "row 3: column 'image' is empty"),
        ("id,image\na,one.png\na,three.png\n", "id 'a' stands in more than one row"),
        ("id,image\npairs,one.png\nb,three.png\n", "can't have the id 'pairs'"),
        ("id,image\na,one.png\n.b,three.png\n", "id '.b' can't name a folder"),
        ("id,image\na,one.png\nb,gone.png\n", r"image 'gone\.png' of b does not exist \(looked in"),
        ("id,image,landmarks\na,one.png,gone.csv\nb,three.png,\n", r"landmarks 'gone\.csv' of a does not exist"),
        ("id,image\na,one.png\nb_to_c,one.png\na_to_b,one.png\nc,one.png\n", "choose ids without '_to_'"),
    ],
)
def test_a_wrong_table_is_told_by_row_and_value(folder, text, message):
    with pytest.raises(InputError, match=message):
        read_sections(markdown_table(folder, text))


def test_a_list_of_one_and_a_missing_table_are_refused(folder):
    with pytest.raises(InputError, match="--images names 1"):
        read_sections(str(folder / "one.png"))
    with pytest.raises(InputError, match=r"section table .*gone\.csv does not exist"):
        read_sections(folder / "gone.csv")
