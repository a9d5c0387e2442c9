"""Text that MONAI's parser would change reaches components as it was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from custom_components.bundles.literals import as_literal, literal, literal_text, literals_in

ODD = ("a#b.png", "$x.png", "@moving", "%y.nii", "$'z'.png", "it's\\#1.png", "#", "$", "ä # €.tif", "a::b#c", "%a::b")


def parsed(value: str) -> object:
    return ConfigParser({"key": value, "use": {"inner": "@key"}}).get_parsed_content("use::inner")


@pytest.mark.parametrize("text", ODD)
def test_odd_names_survive_the_parser(text: str) -> None:
    assert parsed(literal(text)) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_text_survives_the_parser_and_comes_back(text: str) -> None:
    assert parsed(literal(text)) == text
    assert literal_text(literal(text)) == text


def test_plain_text_and_expressions_stay() -> None:
    for value in ("a b.png", "/x/ä.nii.gz", "", None, 3, "$@bundle_root + '/models/model.pt'", "$'plain'"):
        if value != "$'plain'":
            assert as_literal("weights", value) == value
        assert literal_text(value) == value
    assert as_literal("device", "$torch.device('cpu')") == "$torch.device('cpu')"
    assert as_literal("weights", "a#b.pt") == literal("a#b.pt")
    assert as_literal("moving", "$x.png") == as_literal("moving", Path("$x.png")) == literal("$x.png")
    assert as_literal("moving", literal("$x.png")) == literal("$x.png")


def test_of_a_config_only_files_that_exist_are_literal(tmp_path: Path, monkeypatch) -> None:
    """As MONAI's parser hands it over, every # made :: already."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data#1").mkdir()
    for name in ("$x.png", "a#b.png", "data#1/c#d.png", "w#1.pt", "e::f.png"):
        Path(name).touch()
    config = {
        "moving": "$x.png", "fixed": "$y.png", "moving_labels": "a::b.png", "fixed_labels": "e::f.png",
        "output_dir": "o::1", "id": "a::1", "device": "$x.png", "dataset": {"a": "b"}, "n": 1, "weights": "w::1.pt",
        "url": "dask::scheduler", "moving_mask": "gone::1.png", "pairs": None,
    }  # fmt: skip
    assert literals_in(config) == {
        "moving": literal("$x.png"), "moving_labels": literal("a#b.png"), "output_dir": literal("o#1"),
        "id": literal("a#1"), "weights": literal("w#1.pt"),
    }  # fmt: skip
    elsewhere = {"dataset_dir": "data::1", "moving": "c::d.png", "fixed": "a::b.png"}
    assert literals_in(elsewhere) == {"dataset_dir": literal("data#1"), "moving": literal("c#d.png")}
