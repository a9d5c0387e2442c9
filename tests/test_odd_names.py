"""Files and folders of any name: on the command line, in a table, in Python, by MONAI's command and in apply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import run as monai_run
from scipy.ndimage import gaussian_filter

import warpzoo
from custom_components.bundles import find_bundle, open_bundle
from custom_components.bundles.current import build_arguments
from custom_components.commands.apply import apply
from custom_components.fields import index_to_physical
from custom_components.pairs import Pair, write_image
from custom_components.pairs.volume_points import read_volume_points
from custom_components.series import align_series
from custom_components.serving import find_bundles
from custom_components.serving import register as serve
from warpzoo.cli import cli

METHOD = "semantic_similarity"
OPTIONS = {
    "spatial_dims": 3, "working_size": 32, "report": False, "device": "cpu", "channels": [8, 16, 32],
    "weights": str(find_bundle(METHOD) / "models" / "volume.pt"),
}  # fmt: skip
NAMES = ("a#b", "$PATH", "@moving", "%fixed", "with space", "zell\u00e4rm \u2713", "it's (1) & [2]")


def volume(seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).random((32, 32, 32)), 3 + 0.1 * seed)
    return ((noise - noise.min()) / np.ptp(noise) * 200).astype(np.float32)


def make_pair(folder: Path, name: str) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    matrix = index_to_physical((2.0, 2.0, 2.0))
    files = {"moving": folder / f"{name}m.nii.gz", "fixed": folder / f"{name}f.nii.gz"}
    for seed, file in enumerate(files.values()):
        write_image(file, volume(seed)[None], matrix)
    files["moving_landmarks"] = folder / f"{name}p.csv"
    files["moving_landmarks"].write_text("X,Y,Z\n15,16,17\n")
    return files


def check(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["status"] in ("ok", "poor"), metrics["reason"]
    for file in ("warped.nii.gz", "displacement.nii.gz", "transform.h5", "warped_landmarks.csv"):
        assert (folder / file).is_file()
    assert Path(metrics["run"]["inputs"]["moving"]["path"]).is_file()


def command(*arguments: str) -> None:
    flags = [
        word
        for key, value in OPTIONS.items()
        for word in (f"--{key}", str(value).lower() if isinstance(value, bool) else str(value))
    ]
    cli.main(["register", *arguments, "--method", METHOD, *flags, "--point_space", "voxel"], standalone_mode=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_takes_any_name(name: str, tmp_path: Path, monkeypatch) -> None:
    files = make_pair(tmp_path / name, name)
    monkeypatch.chdir(tmp_path / name)  # relative paths, which begin with what is odd
    relative = {key: file.name for key, file in files.items()}
    command(
        relative["moving"], relative["fixed"], "--moving_landmarks", relative["moving_landmarks"], "--output_dir", name
    )  # fmt: skip
    folder = Path(name) / f"{name}m.nii_to_{name}f.nii".replace(".nii", "")
    check(folder)
    again = apply(str(folder), points=relative["moving_landmarks"], unit="voxel", output=f"{name}moved.csv")
    there = read_volume_points(folder / "warped_landmarks.csv", "voxel").points
    np.testing.assert_allclose(read_volume_points(again, "voxel").points, there, atol=1e-3)
    words = ["apply", str(folder / "displacement.nii.gz"), "--image", relative["moving"], "--output", "{a}#.nii.gz"]
    assert cli.main(words, standalone_mode=False) == 0
    assert Path("{a}#.nii.gz").is_file()


def test_a_table_and_links_and_python_take_any_name(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = ["id,moving,fixed,moving_landmarks"]
    for number, name in enumerate(NAMES):
        files = make_pair(tmp_path / "data #1" / name, name)
        if number == 0:
            link = tmp_path / "data #1" / name / "$link.nii.gz"
            os.symlink(files["moving"], link)
            files["moving"] = link
        rows.append(",".join([f"{name} {number}", *(f"{name}/{file.name}" for file in files.values())]))
    table = tmp_path / "data #1" / "$pairs.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.chdir(table.parent)
    Path("we#ights.pt").write_bytes(Path(OPTIONS["weights"]).read_bytes())
    options = {**OPTIONS, "weights": "we#ights.pt", "pairs": "$pairs.csv", "output_dir": "#out", "point_space": "voxel"}
    open_bundle(METHOD, **options).run()
    for number, name in enumerate(NAMES):
        check(Path("#out") / f"{name} {number}")
    # nothing is done twice
    open_bundle(METHOD, **options).run()
    assert f"{len(NAMES)} of {len(NAMES)} pairs are in #out already" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "data #1" / "$PATH")
    result = warpzoo.register(
        "$PATHm.nii.gz", Path("$PATHf.nii.gz"), METHOD, output_dir="$out", id="@a #1", note="#1 of $2",
        moving_landmarks="$PATHp.csv", point_space="voxel", **OPTIONS,
    )  # fmt: skip
    assert result.folder == Path("$out/@a #1")
    assert result.metrics["note"] == "#1 of $2"
    check(result.folder)


@pytest.mark.parametrize("name", ["a#b", "$PATH", "@moving", "with space"])
def test_monai_takes_names_of_files_that_exist(name: str, tmp_path: Path, monkeypatch) -> None:
    files = make_pair(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    output = "out#1"
    config = open_bundle(METHOD).folder / "configs" / "inference.yaml"
    given = {key: file.name for key, file in files.items()}
    monai_run(config_file=str(config), output_dir=output, point_space="voxel", **given, **OPTIONS)
    check(Path(output) / f"{name}m_to_{name}f")


def test_monai_s_command_line_takes_them_as_paths(tmp_path: Path) -> None:
    """Its parser of arguments takes what follows a # for a comment, unless the text is no Python, as a path isn't."""
    files = make_pair(tmp_path / "data #1", "a#b")
    config = open_bundle(METHOD).folder / "configs" / "inference.yaml"
    words = [f"--{key}={value}" for key, value in {**OPTIONS, **files, "output_dir": tmp_path / "out#1"}.items()]
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config), "--point_space", "voxel", *words],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    check(tmp_path / "out#1" / "a#bm_to_a#bf")


def test_monai_s_command_line_says_what_it_can_not_take(tmp_path: Path) -> None:
    """docs/faq.md sends such names to a pair table."""
    config = open_bundle(METHOD).folder / "configs" / "inference.yaml"
    write_image(tmp_path / "%x.png", np.zeros((1, 40, 40), np.uint8))
    with pytest.raises((ValueError, KeyError, SystemExit, FileNotFoundError)):
        monai_run(config_file=str(config), moving=str(tmp_path / "%x.png")[len(str(tmp_path)) + 1 :], fixed="y.png")


def test_processes_of_a_cluster_write_where_they_are_told(tmp_path: Path) -> None:
    config = dict(open_bundle(METHOD, output_dir=f"{tmp_path}/$#out").config)
    writer = build_arguments(config, "evaluator", ("handlers",))["handlers"][0]
    assert writer.output_dir == tmp_path / "$#out"


def section(seed: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).random((96, 96)), 4 + 0.1 * seed)
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


def test_a_series_takes_any_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("$images#").mkdir()
    files = []
    for number, name in enumerate(("a#1.png", "$b.png", "@c d.png")):
        files.append(Path("$images#") / name)
        write_image(files[-1], section(number)[None])
    options = {"working_size": 64, "report": False, "device": "cpu"}
    record = align_series([str(file) for file in files], METHOD, "#series$", **options)
    assert [entry["status"] for entry in record["sections"]].count("failed") == 0
    for entry in record["sections"]:
        assert (Path("#series$") / entry["id"] / "warped.png").is_file()
    page = (Path("#series$") / "index.html").read_text(encoding="utf-8")
    assert 'href="a%231/' in page or 'src="a%231/' in page


def test_a_server_takes_any_name(tmp_path: Path) -> None:
    write_image(tmp_path / "$m#.png", section(0)[None])
    write_image(tmp_path / "@f#.png", section(1)[None])
    bundle = find_bundles(find_bundle(METHOD).parent, [METHOD])[METHOD]
    pair = Pair("$a#b", tmp_path / "$m#.png", tmp_path / "@f#.png")
    metrics = serve(bundle, pair, {"working_size": 64, "report": False}, tmp_path / "$out#1")
    assert metrics["status"] in ("ok", "poor")
    assert (tmp_path / "$out#1" / "$a#b" / "warped.png").is_file()
