"""The speed benchmark: honest figures, and rows for what can't be measured."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from benchmarks import speed
from benchmarks.dis_baseline import dis_ddf
from benchmarks.known_pair import mean_error, tissue_pair
from benchmarks.speed import (
    METHODS,
    Measured,
    Setting,
    elastix_ddf,
    isolated,
    level_networks,
    main,
    measure,
    memory_table,
    network_memory,
    observed,
    table,
)
from custom_components.common.errors import InputError
from custom_components.inferers.flow_refinement import to_bytes


def test_flow_points_from_the_fixed_image_into_the_moving_one() -> None:
    images = tissue_pair(256, 0.012)
    found = dis_ddf(to_bytes(images.moving), to_bytes(images.fixed))
    assert mean_error(found, 256, 0.012) < 0.3 * mean_error(None, 256, 0.012)


@pytest.mark.slow
def test_elastix_points_the_same_way_and_leaves_no_files(tmp_path: Path, monkeypatch) -> None:
    if find_spec("itk.ElastixPython") is None:
        pytest.skip("itk-elastix is not installed")
    monkeypatch.chdir(tmp_path)
    images = tissue_pair(128, 0.02)
    found = elastix_ddf(to_bytes(images.moving), to_bytes(images.fixed), 1)
    assert mean_error(found, 128, 0.02) < 0.3 * mean_error(None, 128, 0.02)
    assert list(tmp_path.iterdir()) == []


def test_the_patch_pyramid_is_measured_with_its_bundles_networks() -> None:
    found = measure(Setting("patch pyramid", 96, iterations=1))
    assert found.seconds > 0
    assert found.missing == ""
    assert found.before == pytest.approx(mean_error(None, 96, Setting.amplitude))
    assert abs(found.after - found.before) < 0.2  # random weights find nothing
    assert np.isnan(found.cuda)


@pytest.mark.parametrize("method", ["DIS flow", "flow refinement"])
def test_what_needs_no_weights_brings_the_images_nearer(method: str) -> None:
    found = measure(Setting(method, 200))
    assert found.after < 0.5 * found.before


def test_a_peak_is_seen_though_it_is_given_back() -> None:
    if np.isnan(speed._status("VmHWM")):
        pytest.skip("this system does not tell a process's memory")

    def call() -> torch.Tensor:
        return torch.ones(20 * speed.MIB, dtype=torch.float32).sum()

    observed(call)
    found = observed(call)[1]
    assert 60 < found.memory < 120
    assert observed(lambda: torch.ones(1))[1].memory < 20


def test_the_networks_memory_does_not_follow_the_size() -> None:
    if np.isnan(speed._status("VmHWM")):
        pytest.skip("this system does not tell a process's memory")
    found = [network_memory(Setting("patch pyramid", size, batch_size=1)).memory for size in (128, 256, 1024)]
    assert max(found) < 150


def test_weights_of_all_levels_or_of_one_are_read(tmp_path: Path) -> None:
    pyramid = level_networks(None)
    with torch.no_grad():
        for level, network in enumerate(pyramid.levels):
            next(network.parameters()).fill_(float(level))
    torch.save(pyramid.state_dict(), tmp_path / "all.pt")
    torch.save(pyramid.levels[2].state_dict(), tmp_path / "one.pt")
    torch.save({"levels.0.unknown": torch.ones(1)}, tmp_path / "other.pt")
    for file, wanted in (("all.pt", [0, 1, 2]), ("one.pt", [2, 2, 2])):
        found = level_networks(str(tmp_path / file))
        assert [float(next(network.parameters()).detach().mean()) for network in found.levels] == wanted
    with pytest.raises(InputError, match="lack"):
        level_networks(str(tmp_path / "other.pt"))


def test_what_is_not_installed_has_a_row_with_the_reason(monkeypatch) -> None:
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    rows = table([Setting("elastix", 64)], run=lambda function, setting: function(setting))
    assert "| 64 | elastix | not installed: pip install itk-elastix |" in rows


def test_a_process_that_fails_or_is_ended_costs_only_its_own_row() -> None:
    failed: Any = int  # stands for a method, and is quick to load in another process
    assert isolated(failed, cast(Any, "no\troom")).missing.startswith("ValueError: invalid literal")
    ended: Any = os._exit
    assert "ended from outside" in isolated(ended, cast(Any, 9)).missing


@pytest.mark.slow
def test_a_fresh_process_measures_what_this_one_does() -> None:
    found = isolated(measure, Setting("DIS flow", 128))
    assert found.after == pytest.approx(measure(Setting("DIS flow", 128)).after, rel=1e-3)


def test_tables_show_every_setting_and_a_dash_for_what_is_unknown() -> None:
    settings = [Setting("DIS flow", 64), Setting("patch pyramid", 128)]
    rows = table(settings, run=lambda function, setting: Measured(1.234, 56.7, float("nan"), 3.0, 0.456))
    assert rows.splitlines()[2:] == [
        "| 64 | DIS flow | 1.23 | 57 | - | 3.00 | 0.46 |",
        "| 128 | patch pyramid | 1.23 | 57 | - | 3.00 | 0.46 |",
    ]
    rows = memory_table(settings[1:], run=lambda function, setting: Measured(memory=99.6))
    assert rows.splitlines()[2:] == ["| 128 | 100 | - |"]
    assert len({line.count("|") for line in rows.splitlines()}) == 1


def test_the_command_line_names_every_size_and_method_and_says_when_weights_are_random(monkeypatch) -> None:
    asked: list[Setting] = []

    def instead(function: object, setting: Setting) -> Measured:
        asked.append(setting)
        return Measured(1.0)

    monkeypatch.setattr(speed.table, "__defaults__", (instead,))
    monkeypatch.setattr(speed.memory_table, "__defaults__", (instead,))
    text = main(["--sizes", "64", "128", "--threads", "2", "--device", "cpu"])
    assert [(s.size, s.method) for s in asked[: 2 * len(METHODS)]] == [(n, m) for n in (64, 128) for m in METHODS]
    assert all(setting.threads == 2 for setting in asked)
    assert len(asked) == 2 * len(METHODS) + 2
    assert "random weights" in text
    assert "on the CPU, 2 thread(s)" in text


def test_a_wrong_request_is_refused_before_anything_runs(tmp_path: Path, capsys) -> None:
    with pytest.raises(InputError, match="at least 32 pixels, got 8"):
        main(["--sizes", "8"])
    with pytest.raises(InputError, match="does not exist"):
        main(["--weights", str(tmp_path / "none.pt")])
    with pytest.raises(SystemExit):
        main(["--methods", "magic"])
    assert "magic" in capsys.readouterr().err
