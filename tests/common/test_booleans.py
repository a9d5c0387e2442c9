from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from custom_components.common.booleans import parse_bool
from custom_components.common.errors import InputError


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(True, True), (False, False), ("false", False), ("False", False), ("true", True), (" no ", False), ("0", False)],
)
def test_words_of_the_command_line_mean_what_they_say(value, wanted) -> None:
    assert parse_bool(value) is wanted


def test_any_other_word_is_an_error() -> None:
    with pytest.raises(InputError, match="report is true or false, got 'nein'"):
        parse_bool("nein", "report")


@pytest.mark.parametrize("value", [False, "false", "False"])
@pytest.mark.parametrize("bundle", ["hybrid_matching", "patch_nonrigid"])
def test_a_step_that_is_switched_off_is_left_out(bundle, value, monkeypatch) -> None:
    parser = ConfigParser()
    parser.read_config(f"bundles/{bundle}/configs/inference.yaml")
    parser["optimise"] = value
    names = [type(step).__name__ for step in parser.get_parsed_content("inferer").steps]
    assert "InstanceOptimisation" not in names
