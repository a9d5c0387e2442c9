"""Earlier names of keys: they still work, on both command lines, and say what they are called now."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from custom_components import bundles
from custom_components.bundles.aliases import EARLIER, present_name
from custom_components.bundles.current import current_config

NOW = {"amp": False, "processes": 0}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("half", "amp"), ("workers", "processes"), ("amp", "amp"), ("half::x", "amp::x"), ("black", "black")],
)
def test_a_key_is_found_by_its_earlier_name_where_the_config_has_it(given, wanted) -> None:
    assert present_name(given, NOW) == wanted


def test_training_and_inference_have_their_own_meaning_of_workers() -> None:
    assert present_name("workers", {"num_workers": 2}) == "num_workers"


def test_the_two_spellings_need_no_notice(capsys) -> None:
    assert present_name("optimize", {"optimise": False}) == "optimise"
    assert not capsys.readouterr().out


def test_an_opened_bundle_takes_the_value_and_says_the_present_name(capsys) -> None:
    opened = bundles.open_bundle("hybrid_matching", enough=50)
    assert opened.config["stop_after_matches"] == 50
    assert "enough" not in opened.config
    assert "--enough is called --stop_after_matches now" in capsys.readouterr().out


def test_monais_own_command_line_takes_it_too() -> None:
    folder = bundles.find_bundle("hybrid_matching")
    raw = dict(ConfigParser.load_config_file(str(folder / "configs" / "inference.yaml")))
    parser = ConfigParser({
        **{key: value for key, value in raw.items() if key != "run"}, "bundle_root": str(folder), "enough": 50,
        "run": "$@stop_after_matches",
    })  # fmt: skip
    parser.get_parsed_content("initialize")
    assert parser.get_parsed_content("run") == 50
    assert current_config() is None


@pytest.mark.parametrize("old", sorted(EARLIER))
def test_no_shipped_config_still_has_an_earlier_name(old) -> None:
    for name in bundles.names():
        for file in (bundles.find_bundle(name) / "configs").glob("*.yaml"):
            assert old not in ConfigParser.load_config_file(str(file)), file
