"""A bundle is opened from anywhere, and what nothing reads or nobody can mean is said by its name."""

from __future__ import annotations

import shutil

import pytest

from custom_components.bundles import find_bundle, names, open_bundle
from custom_components.bundles.documented import documented_keys
from custom_components.bundles.keys import check_keys
from custom_components.bundles.places import DEFAULT
from custom_components.common.errors import InputError


@pytest.fixture(autouse=True)
def _from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("bundle", ["hybrid_matching", "bundles/hybrid_matching"])
def test_keys_are_overridden_and_reach_the_parts_that_refer_to_them(bundle):
    parser = open_bundle(bundle, working_size=300, min_matches=7).parser()
    assert parser.get_parsed_content("working_size") == 300
    assert parser.get_parsed_content("inferer").steps[0].min_matches == 7


def test_a_bundle_is_found_by_name_path_and_file(repository, tmp_path):
    folder = repository / "bundles" / "patch_nonrigid"
    for given in ("patch_nonrigid", "bundles/patch_nonrigid", folder, folder / "configs" / "train.yaml"):
        assert find_bundle(given) == folder
    mine = tmp_path / "mine"
    shutil.copytree(folder / "configs", mine / "configs")
    assert find_bundle("mine") == mine
    assert open_bundle("mine").config["bundle_root"] == str(mine)


@pytest.mark.parametrize("name", names())
def test_the_weights_and_every_part_are_found_from_anywhere(name):
    assert open_bundle(name).parser().get_parsed_content("evaluator").inferer is not None


def test_evaluate_is_inference_with_other_defaults():
    opened, plain = open_bundle("hybrid_matching", "evaluate").config, open_bundle("hybrid_matching").config
    changed = {key for key in {*opened, *plain} if opened.get(key) != plain.get(key)}
    assert changed == {"resume", "submission"}
    with_union = open_bundle("hybrid_matching", ["evaluate", "union"]).config
    assert with_union["stop_after_matches"] is None
    assert with_union["submission"] is True


@pytest.mark.parametrize(
    ("bundle", "config", "overrides", "message"),
    [
        ("typo", "inference", {}, rf"unknown bundle 'typo'.* there are {DEFAULT}, hybrid_matching"),
        ("hybrid_matchin", "inference", {}, r"did you mean 'hybrid_matching'\?"),
        ("hybrid_matching", "evaluat", {}, r"no config 'evaluat'; it has .*evaluate"),
        ("hybrid_matching", "inference", {"workin_size": 1}, r"no key 'workin_size'; did you mean 'working_size'\?"),
        ("hybrid_matching", "inference", {"nothing::like": 1}, r"no key 'nothing::like'"),
        ("hybrid_matching", "inference", {"working_size": "abc"}, r"--working_size is a number, got 'abc'"),
        ("hybrid_matching", "inference", {"report": "maybe"}, r"report is true or false, got 'maybe'"),
        ("hybrid_matching", "inference", {"output_dir": 202401}, r"--output_dir was read as the number 202401"),
        ("patch_nonrigid", "inference", {"scales": 0.5}, r"--scales is a list such as \[0.25, 0.5, 1.0\]"),
        ("hybrid_matching", "inference", {"matcher": "%none.yaml::x"}, r"%none\.yaml::x names .*does not exist"),
    ],
)
def test_a_wrong_name_key_or_value_is_named(bundle, config, overrides, message):
    with pytest.raises(InputError, match=message):
        open_bundle(bundle, config, **overrides)


def test_the_fields_names_for_keys_are_taken_too():
    config = open_bundle("hybrid_matching", optimize=True, stop_after_matches=50).config
    assert (config["optimise"], config["stop_after_matches"]) == (True, 50)
    assert "optimize" not in config


def test_values_of_the_command_line_become_what_is_meant():
    config = open_bundle(
        "hybrid_matching", id=12, working_size="300", report="false", micrometres_per_pixel="2.5", seed="$1 + 1"
    ).config
    wanted = {"id": "12", "working_size": 300, "report": False, "micrometres_per_pixel": 2.5, "seed": "$1 + 1"}
    assert {key: config[key] for key in wanted} == wanted


@pytest.mark.parametrize("name", names())
def test_every_option_of_a_bundle_says_what_it_is(name):
    keys = documented_keys(find_bundle(name) / "configs" / "inference.yaml")
    assert {"moving", "fixed", "pairs", "working_size", "output_dir"} <= {key.name for key in keys}
    trainings = [file for file in find_bundle(name).glob("configs/*train*.yaml") if "multi_gpu" not in file.name]
    keys += [key for file in trainings for key in documented_keys(file)]
    assert [key.name for key in keys if not key.meaning and key.name != "first_weights"] == []


@pytest.mark.parametrize("name", names())
def test_no_key_of_a_config_is_without_effect(name):
    """Each key is referred to by another, or is one that MONAI or this package reads by its name."""
    by_name = {
        "imports", "bundle_root", "initialize", "run", "finalize", "evaluator", "trainer", "network_def", "validator",
    }  # fmt: skip
    import re

    from custom_components.bundles.keys import strings_in

    config = open_bundle(name).config
    used = {found for _, text in strings_in(config) for found in re.findall(r"[@%](\w+)", text)}
    assert set(config) - used - by_name == set()


def test_a_folder_that_is_no_bundle_of_ours_is_not_checked(tmp_path):
    check_keys({"anything": 1}, tmp_path)
