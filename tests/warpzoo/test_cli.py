"""The command: help without torch, options from the YAML, wrong words told by the right ones, runs from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custom_components.bundles import names
from custom_components.bundles.places import DEFAULT
from custom_components.pairs.demo import write_demo_pair
from warpzoo import cli
from warpzoo.options import Option, of_bundle, of_function, parse_value

HEAVY = ("torch", "monai", "itk", "scipy", "kornia", "ignite")


def run(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "warpzoo", *arguments], cwd=folder, capture_output=True, text=True, check=False, **more
    )  # type: ignore[call-overload]


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["warpzoo", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_demo_pair(tmp_path_factory.mktemp("demo"))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in cli.FORMS)])
def test_help_needs_neither_torch_nor_monai(arguments, tmp_path):
    program = (
        "import sys, warpzoo.cli\n"
        f"sys.argv = ['warpzoo', *{arguments!r}]\n"
        "try: warpzoo.cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_comes_at_once(tmp_path):
    start = time.perf_counter()
    assert run("register", "--help", folder=tmp_path).returncode == 0
    assert time.perf_counter() - start < 5  # 0.2 s on an idle machine


@pytest.mark.parametrize("name", names())
def test_help_lists_every_key_of_the_method_with_its_meaning(name, monkeypatch, capsys):
    assert called(monkeypatch, "register", "--help", "--method", name) == 0
    said = " ".join(capsys.readouterr().out.split())
    options = of_bundle(name, without=cli.ONE)
    assert len(options) > 20
    for option in options:
        assert f"--{option.name} " in said or f"--{option.name}, " in said
        assert option.meaning
        assert option.meaning.split()[0] in said


def test_help_says_what_a_preset_sets(monkeypatch, capsys):
    assert called(monkeypatch, "register", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "[by --quality: fast 768; balanced 1024; best 2048]" in said
    assert "--networks [true|false]" in said


def test_options_of_functions_are_those_of_their_docstrings():
    found = {option.name: option for option in of_function("custom_components.commands.apply", "apply", ("field",))}
    assert set(found) >= {"image", "points", "geojson", "direction", "overwrite"}
    assert found["order"].default == 1
    assert all(option.meaning for option in found.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["register", "a", "b", "--workin_size", "3"],
            "'--working_size'?",
        ),
        (["regster"], "unknown command 'regster'; did you mean 'register'?"),
        (["register", "a"], "Missing argument 'FIXED'"),
        (["register", "a", "b", "--method", "hybrid"], "unknown bundle 'hybrid'"),
        (["train", "patch_nonrigid", "--config", "trian"], "has no config 'trian'; it has"),
    ],
)
def test_a_wrong_word_is_told_by_the_right_one(arguments, message, monkeypatch, capsys):
    assert called(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "wanted"),
    [
        (Option("id", None, ""), "007", "007"),
        (Option("output_dir", "out", ""), "2024_01", "2024_01"),
        (Option("working_size", 1024, ""), "2048", 2048),
        (Option("working_size", 1024, ""), "null", None),
        (Option("channels", [16], ""), "[8,16,32]", [8, 16, 32]),
        (Option("device", "$x", ""), "cuda:1", "cuda:1"),
        (Option("report", True, ""), "false", False),
        (Option("weights", "$a", ""), "$@bundle_root + '/x.pt'", "$@bundle_root + '/x.pt'"),
    ],
)
def test_values_are_what_their_text_means(option, text, wanted):
    assert parse_value(option, text) == wanted


def test_a_pair_is_registered_from_any_folder_and_the_console_says_where_to_look(pair, tmp_path):
    done = run("register", str(pair.moving), str(pair.fixed), "--output_dir", "2024_01", "--id", "7", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{DEFAULT}; ")
    assert lines[1].startswith("[1/1] 7: ok")
    assert "1 pair: 1 ok, 0 poor, 0 failed" in lines
    assert lines[-1] == "look at 2024_01/7/report.html"
    assert (tmp_path / "2024_01" / "7" / "report.html").is_file()
    run_record = json.loads((tmp_path / "2024_01" / "7" / "metrics.json").read_text())["run"]
    assert run_record["bundle"] == DEFAULT
    carried = run("apply", "2024_01/7", "--image", str(pair.moving), "--output", "again.png", folder=tmp_path)
    assert carried.returncode == 0, carried.stderr
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "2024_01" / "7" / "warped.png").read_bytes()
    said = run("report", "2024_01/7", folder=tmp_path)
    assert "7: ok" in said.stdout
    assert "2024_01/7/report.html" in said.stdout


def test_a_failed_pair_shows_one_line(pair, tmp_path):
    (tmp_path / "blank.png").write_bytes(b"no image")
    done = run("register", "blank.png", str(pair.fixed), folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "blank.png" in done.stderr


def test_doctor_finds_what_is_needed(tmp_path):
    done = run("doctor", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "all that is needed is there" in done.stdout


def test_bundles_say_what_they_are_for(monkeypatch, capsys):
    assert called(monkeypatch, "bundles") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names())
    assert "trained on: ANHIR" in said


def test_garbage_is_collected_again_once_everything_is_imported(pair, tmp_path):
    program = (
        "import gc, sys, warpzoo.cli\n"
        f"sys.argv = ['warpzoo', 'register', {str(pair.moving)!r}, {str(pair.fixed)!r}]\n"
        "sys.argv += ['--quality', 'fast', '--report', 'false']\n"
        "try: warpzoo.cli.main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True", done.stderr
