"""A result counts as done only for the same files, bundle, weights and options."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from custom_components.outputs.identity import RunSettings, differences, other_images, read_run_settings, run_record
from custom_components.pairs import Pair

SETTINGS = RunSettings("mine", "1", {"weights": "ab"}, {"working_size": 512})


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    for name in ("moving", "fixed", "marks"):
        (tmp_path / name).write_text(name)
    return Pair("p", tmp_path / "moving", tmp_path / "fixed", moving_landmarks=tmp_path / "marks")


def stored(pair: Pair, settings: RunSettings = SETTINGS) -> dict:
    """The record as a later run reads it."""
    return json.loads(json.dumps(run_record(pair, settings, {"warpzoo": "1"})))


def test_the_same_is_done_also_when_it_was_touched_or_moved_as_a_whole(pair, tmp_path):
    record = stored(pair)
    assert differences(record, pair, SETTINGS) == []
    os.utime(pair.moving, (1, 1))
    assert differences(record, pair, SETTINGS) == []
    other = tmp_path / "elsewhere"
    other.mkdir()
    for file in (pair.moving, pair.fixed, pair.moving_landmarks):
        shutil.move(file, other)
    moved = replace(pair, moving=other / "moving", fixed=other / "fixed", moving_landmarks=other / "marks")
    assert differences(record, moved, SETTINGS) == []
    assert other_images({"run": record}, moved) is None


@pytest.mark.parametrize("name", ["moving", "fixed", "marks"])
def test_every_changed_file_is_named(pair, tmp_path, name):
    record = stored(pair)
    (tmp_path / name).write_text("another")
    (found,) = differences(record, pair, SETTINGS)
    assert found == f"{name.replace('marks', 'moving_landmarks')} differs"
    assert other_images({"run": record}, pair) is None  # in the same place it is still this pair


def test_attached_files_count_when_they_come_or_go(pair):
    assert differences(stored(pair), replace(pair, moving_landmarks=None), SETTINGS) == [
        "moving_landmarks is not given now"
    ]
    bare = stored(replace(pair, moving_landmarks=None))
    assert differences(bare, pair, SETTINGS) == ["moving_landmarks was not given then"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(SETTINGS, bundle="yours"), "bundle 'mine', now 'yours'"),
        (replace(SETTINGS, weights={"weights": "cd"}), "weights of weights differ"),
        (replace(SETTINGS, options={"working_size": 256}), "working_size 512, now 256"),
        (replace(SETTINGS, options={"working_size": 512, "seed": 1}), "seed null, now 1"),
    ],
)
def test_what_differs_in_the_settings_is_named(pair, settings, said):
    assert differences(stored(pair), pair, settings) == [said]


def test_another_space_of_the_points_in_the_table_is_named(pair):
    assert differences(stored(pair), replace(pair, point_space="ras"), SETTINGS) == [
        "read as {}, now {'point_space': 'ras'}"
    ]
    assert differences(stored(replace(pair, point_space="ras")), replace(pair, point_space="ras"), SETTINGS) == []
    # as an option it stands among those
    options = replace(SETTINGS, options={**SETTINGS.options, "point_space": "RAS"})
    assert stored(replace(pair, point_space="ras"), options)["reading"] == {}


def test_a_result_without_a_record_is_not_done(pair):
    assert "older version" in differences(None, pair, SETTINGS)[0]


def test_other_images_are_told_with_both_paths(pair, tmp_path):
    other = tmp_path / "b" / "moving"
    other.parent.mkdir()
    shutil.copy2(pair.moving, other)  # the same content and time: another patient all the same
    assert other_images({"run": stored(pair)}, replace(pair, moving=other)) == (str(pair.moving), str(other))
    old = {"moving": str(pair.moving), "fixed": str(pair.fixed)}
    assert other_images(old, replace(pair, moving=other)) == (str(pair.moving), str(other))
    assert other_images(old, pair) is None


def config_of(tmp_path: Path, **more: object) -> ConfigParser:
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "model.pt").write_bytes(b"weights")
    parser = ConfigParser({
        "bundle_root": str(tmp_path), "output_dir": "out", "device": "cpu", "processes": 0, "working_size": 512,
        "amp": "false", "weights": "$@bundle_root + '/models/model.pt'",
        "inferer": {"_target_": "x.Y", "file": "@weights"}, **more,
    })  # fmt: skip
    return parser


def test_settings_hold_what_influences_the_result_and_the_hash_of_the_weights(tmp_path):
    first = read_run_settings(config_of(tmp_path).config)
    other = config_of(tmp_path, output_dir="other", device="cuda", processes=4, amp=False)
    assert first == read_run_settings(other.config)
    assert (first.bundle, set(first.weights)) == (tmp_path.name, {"weights"})
    assert set(first.options) == {"working_size", "amp", "inferer"}
    (tmp_path / "models" / "model.pt").write_bytes(b"others")
    parser = ConfigParser({**config_of(tmp_path).config})
    (tmp_path / "models" / "model.pt").write_bytes(b"others")
    again = read_run_settings(parser.config)
    assert again.weights != first.weights
    assert again.options == first.options
    assert read_run_settings(config_of(tmp_path, inferer={"_target_": "x.Z"}).config).options != first.options
    assert read_run_settings(None) == RunSettings()
