"""Parameters of a request: checked, and nothing that a config would run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.bundles.places import DEFAULT
from custom_components.common.errors import InputError
from custom_components.serving import RequestError, find_bundles, read_options
from custom_components.serving.parameters import ATTACHED, OPTIONS, describe, switch

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
DEFAULTS = find_bundles(BUNDLES, ["hybrid_matching"])["hybrid_matching"].defaults


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"working_size": 512}, {"working_size": 512}),
        ({"working_size": "512"}, {"working_size": 512}),
        ({"working_size": 512.0}, {"working_size": 512}),
        ({"mirrored": "yes", "report": False}, {"mirrored": True, "report": False}),
        ({"channel": None}, {"channel": None}),
        ({"channel": ""}, {"channel": None}),
        ({"output_ext": ".OME.TIF"}, {"output_ext": "ome.tif"}),
        ({"rotation_step": 15}, {"rotation_step": 15.0}),
        ({"fixed": "$print(1)", "foreground": [], "device": "cuda"}, {}),
    ],
)
def test_values_are_taken_in_the_forms_that_clients_send(given, taken):
    assert read_options(given, DEFAULTS) == taken


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("working_size", 3, "lies between 64 and 8192, got 3"),
        ("working_size", 512.5, "is a whole number, got 512.5"),
        ("working_size", True, "is a whole number, got True"),
        ("working_size", None, "needs a value, such as 1024"),
        ("working_size", [512], r"is a whole number, got \[512\]"),
        ("working_size", float("nan"), "is a whole number, got nan"),
        ("rotation_step", "1e999", "is a number, got '1e999'"),
        ("rotation_step", 10**400, "is a number, got 1000.*"),
        ("mirrored", "perhaps", "is true or false, got 'perhaps'"),
        ("output_ext", "exe", "is one of png, .*, got 'exe'"),
        ("workingsize", 512, "unknown parameter; this model has fixed, .*working_size.*"),
        ("align", True, "unknown parameter; .*"),  # an option, but none of this bundle
        ("output_dir", "/", "unknown parameter; .*"),
        ("inferer", {"_target_": "os.system"}, "unknown parameter; .*"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value, reason):
    with pytest.raises(RequestError, match=f"^{name}: {reason}$") as refused:
        read_options({name: value}, DEFAULTS)
    assert refused.value.status == 400
    assert refused.value.parameter == name


@given(st.dictionaries(st.sampled_from(sorted(OPTIONS)), st.text() | st.text().map(lambda text: f"${text}")))
def test_no_text_of_a_request_reaches_the_config(values):
    try:
        taken = read_options(values, {name: None for name in OPTIONS})
    except RequestError:
        return
    texts = [value for value in taken.values() if isinstance(value, str)]
    assert set(texts) <= {choice for option in OPTIONS.values() for choice in option.choices}


def test_every_bundle_says_what_it_takes_and_takes_its_own_defaults():
    for bundle in find_bundles(BUNDLES).values():
        table = describe(bundle.defaults)
        assert set(ATTACHED) < set(table)
        own = {name: about["default"] for name, about in table.items() if "default" in about}
        assert read_options(own, bundle.defaults) == own
        json.dumps(table, allow_nan=False)


def test_the_default_model_takes_a_quality_and_shows_what_it_usually_sets():
    defaults = find_bundles(BUNDLES, [DEFAULT])[DEFAULT].defaults
    table = describe(defaults)
    assert (table["quality"]["default"], table["working_size"]["default"]) == ("balanced", 1024)
    assert read_options({"quality": "best"}, defaults) == {"quality": "best"}
    with pytest.raises(RequestError, match="quality: is one of fast, balanced, best, got 'great'"):
        read_options({"quality": "great"}, defaults)


def test_a_switch_of_the_request_is_off_unless_given():
    assert [switch(given, "viewer") for given in ({}, {"viewer": ""}, {"viewer": "on"})] == [False, False, True]
    with pytest.raises(RequestError, match="viewer: is true or false"):
        switch({"viewer": [1]}, "viewer")


def test_an_unknown_model_is_named_with_those_that_are_there():
    with pytest.raises(InputError, match="unknown model 'x'; there are histology_registration, hybrid_matching"):
        find_bundles(BUNDLES, ["x"])
    with pytest.raises(InputError, match="no bundles"):
        find_bundles(BUNDLES / "hybrid_matching")
