"""Pairs on the processes of a dask cluster: the files of the serial run, whatever happens to the processes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from monai.bundle import run
from scipy.ndimage import gaussian_filter

from custom_components.common.errors import InputError
from custom_components.engines import Cluster, cluster
from custom_components.engines.cluster_worker import assign_gpu
from custom_components.fields import image_vectors, read_transform
from custom_components.outputs import writer
from custom_components.pairs import write_image, write_points
from custom_components.pairs.reading import COLUMNS

dask = pytest.importorskip("dask", reason="dask is not installed: the extra 'cluster'")
distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed: the extra 'cluster'")

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("one", "two", "three", "four")

# parts of a bundle that processes import; files in the folder say what happens to which pair
PARTS = '''
import os
import signal
from pathlib import Path

import torch

import custom_components.outputs.writer as writer
from custom_components.handlers import RegistrationWriter
from custom_components.inferers.result import Registration, Stage
from custom_components.matching.point_pairs import PointPairs

FOLDER = Path(__file__).parent
CURRENT = []


def ordered(what, forever=False):
    if not CURRENT:  # the process of the run, which writes what no other could
        return False
    order = FOLDER / f"{CURRENT[-1]}.{what}"
    if not order.exists():
        return False
    if not forever:
        order.unlink()
    return True


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Note:
    """Notes which pair is registered by which process, and fails or kills it when that is ordered."""

    def __call__(self, data):
        CURRENT.append(data["pair"].id)
        with (FOLDER / "log.txt").open("a") as log:
            log.write(f"{CURRENT[-1]} {os.getpid()} {torch.get_num_threads()}\\n")
        if ordered("kill") or ordered("kill_always", forever=True):
            die()
        if ordered("fail", forever=True):
            raise ValueError("no tissue at all")
        return data


def shift(images):
    field = torch.ones(1, 2, *images.shape)
    return Registration(field, -field, PointPairs.empty(), PointPairs.empty(), (Stage("shift", 0.1, {}),))


class Inferer:
    def __call__(self, images):
        return shift(images)


write_transform = writer.write_transform


def write_or_die(*arguments):
    if ordered("kill_writing"):
        die()
    write_transform(*arguments)


writer.write_transform = write_or_die


class Writer(RegistrationWriter):
    def write(self, outcome):
        outcome = super().write(outcome)
        if ordered("kill_after"):
            die()
        return outcome
'''

CONFIG: dict[str, Any] = {
    "imports": ["$import torch"],
    "dataset_dir": ".",
    "device": "$torch.device('cpu')",
    **dict.fromkeys(
        ["moving", "fixed", "moving_landmarks", "fixed_landmarks", "moving_annotations", "moving_labels", "moving_mask"]
    ),
    **dict.fromkeys(
        [
            "fixed_labels",
            "fixed_mask",
            *COLUMNS,
            "fixed_annotations",
            "id",
            "pairs",
            "status",
            "output_dir",
            "output_ext",
            "scheduler",
        ]
    ),
    **{"resume": True, "processes": 0, "report": False, "submission": False, "note": ""},
    **{"channel": None, "working_size": 64, "micrometres_per_pixel": None, "margin": 0},
    "dataset": "%bundles/hybrid_matching/configs/inference.yaml::dataset",
    "rest": "%bundles/hybrid_matching/configs/inference.yaml::preprocessing",
    "preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "stumbling.Note"}, "@rest"]},
    "inferer": {"_target_": "stumbling.Inferer"},
    "handlers": [
        {
            "_target_": "stumbling.Writer",
            **{key: f"@{key}" for key in ("output_dir", "output_ext", "report", "note")},
        },
        "%bundles/hybrid_matching/configs/inference.yaml::handlers::1",
    ],
    "evaluator": "%bundles/hybrid_matching/configs/inference.yaml::evaluator",
    "run": ["$@evaluator.run()"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bundle's config, four pairs with landmarks, and what the processes are to import."""
    tissue = np.full((3, 64, 80), 240, np.uint8)
    noise = gaussian_filter(np.random.default_rng(0).random((44, 60)), 6)
    tissue[:, 10:54, 10:70] = (60 + 100 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    for number, name in enumerate("abcd"):
        write_image(tmp_path / f"{name}.png", np.roll(tissue, number, axis=2))
    write_points(tmp_path / "marks.csv", np.array([[20.0, 30.0], [40.0, 50.0]]))
    rows = [f"{name},a.png,{fixed}.png,marks.csv,marks.csv" for name, fixed in zip(NAMES, "abcd", strict=True)]
    header = "id,moving,fixed,moving_landmarks,fixed_landmarks"
    (tmp_path / "pairs.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "inference.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "stumbling.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path / "parts")
    monkeypatch.setattr(writer, "write_transform", writer.write_transform)  # given back after the parts replace it
    monkeypatch.chdir(ROOT)
    yield tmp_path
    sys.modules.pop("stumbling", None)


@pytest.fixture
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers, which are threads of this process: quick, and as far away as any."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as local:
        yield local.scheduler_address


def register(folder: Path, output: str, **options: Any) -> Path:
    run(
        config_file=str(folder / "bundle" / "inference.yaml"), pairs=str(folder / "pairs.csv"),
        output_dir=str(folder / output), **options,
    )  # fmt: skip
    return folder / output


def order(folder: Path, what: str, *names: str) -> None:
    for name in names:
        (folder / "parts" / f"{name}.{what}").touch()


def attempts(folder: Path) -> list[str]:
    """The pairs in the order in which processes began them."""
    return [line.split()[0] for line in (folder / "parts" / "log.txt").read_text().splitlines()]


def table_rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "summary.csv").open(newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def metrics_without_seconds(file: Path) -> dict[str, Any]:
    metrics = json.loads(file.read_text())
    del metrics["seconds"], metrics["run"]["date"]
    metrics["stages"] = {name: {**stage, "seconds": 0} for name, stage in metrics["stages"].items()}
    return metrics


def assert_same(first: Path, second: Path) -> None:
    """Two output folders differ in nothing but times; ITK writes the time into transform.h5."""
    files = [sorted(str(file.relative_to(root)) for file in root.rglob("*")) for root in (first, second)]
    assert files[0] == files[1]
    for name in files[0]:
        one, two = first / name, second / name
        if name.endswith("metrics.json"):
            assert metrics_without_seconds(one) == metrics_without_seconds(two)
        elif name.endswith("registration-results.csv"):  # the last column is the time
            lines = [[line.rsplit(",", 1)[0] for line in file.read_text().splitlines()] for file in (one, two)]
            assert lines[0] == lines[1]
        elif name.endswith("report.html"):  # of failed pairs; the time is among its numbers
            assert re.sub(r"[\d.]+", "", one.read_text()) == re.sub(r"[\d.]+", "", two.read_text())
        elif name.endswith("transform.h5"):
            fields = [image_vectors(read_transform(file).GetDisplacementField()) for file in (one, two)]
            np.testing.assert_array_equal(*fields)
        elif one.is_file() and not name.startswith(("summary", "index", "warpzoo.log")):
            assert one.read_bytes() == two.read_bytes(), name
    rows = [table_rows(root) for root in (first, second)]
    for row in (*rows[0].values(), *rows[1].values()):
        del row["seconds"]
    assert rows[0] == rows[1]
    assert (first / "summary.json").read_text() == (second / "summary.json").read_text()


def test_workers_of_a_scheduler_leave_what_the_serial_run_leaves(folder, scheduler, capsys):
    order(folder, "fail", "three")
    serial = register(folder, "serial")
    said = capsys.readouterr().out
    there = register(folder, "there", scheduler=scheduler)
    assert_same(serial, there)
    assert {name: row["status"] for name, row in table_rows(there).items()} == {
        "one": "poor", "two": "poor", "three": "failed", "four": "poor",
    }  # fmt: skip
    told = capsys.readouterr().out
    assert f"4 pairs go to {scheduler} (2 workers)" in told
    assert told.count("dashboard") == 1
    lines = [[line for line in text.splitlines() if line.startswith("[")] for text in (said, told)]
    assert [line[:5] for line in lines[1]] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]  # as they end
    timeless = [{line.split(maxsplit=1)[1].rsplit(" s,", 1)[0].rsplit(",", 1)[0] for line in each} for each in lines]
    assert timeless[0] == timeless[1]


def test_done_pairs_are_passed_over_and_failed_ones_repeated(folder, scheduler, capsys):
    order(folder, "fail", "three")
    output = register(folder, "out", scheduler=scheduler)
    times = {name: (output / name / "metrics.json").stat().st_mtime_ns for name in NAMES}
    (folder / "parts" / "three.fail").unlink()
    register(folder, "out", scheduler=scheduler)
    assert "3 of 4 pairs are in" in capsys.readouterr().out
    assert attempts(folder)[4:] == ["three"]
    after = {name: (output / name / "metrics.json").stat().st_mtime_ns for name in NAMES}
    assert {name for name in NAMES if times[name] != after[name]} == {"three"}
    assert table_rows(output)["three"]["status"] == "poor"  # nobody moved, and all is shifted by a pixel


def test_repeated_pairs_are_not_taken_for_those_of_an_earlier_run(folder, scheduler):
    register(folder, "out", scheduler=scheduler)
    register(folder, "out", scheduler=scheduler, resume=False)
    assert sorted(attempts(folder)) == sorted(2 * NAMES)


def test_a_run_in_which_everything_failed_ends_as_the_serial_one(folder, scheduler):
    order(folder, "fail", *NAMES)
    reasons = []
    for output, options in (("serial", {}), ("there", {"scheduler": scheduler})):
        with pytest.raises(SystemExit) as stopped:
            register(folder, output, **options)
        reasons.append(sorted(str(stopped.value.code).splitlines()))
    assert reasons[0] == reasons[1]
    assert reasons[0][0] == "error: four: a.png onto d.png: unexpected ValueError: no tissue at all"


def test_a_worker_that_cannot_build_the_bundle_ends_the_run_and_not_the_pairs(folder, scheduler, monkeypatch):
    def fail(*arguments: Any) -> None:
        raise InputError("the bundle can't be built on far: no such weights")

    monkeypatch.setattr("custom_components.engines.cluster_worker._command_arguments", fail)
    with pytest.raises(SystemExit, match="error: the bundle can't be built on far: no such weights"):
        register(folder, "out", scheduler=scheduler)
    assert [path.name for path in (folder / "out").iterdir()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": "many"}, "--processes is a number of processes, 0 for none, got 'many'"),
        ({"processes": -1}, "--processes is a number of processes, 0 for none, got '-1'"),
        ({"processes": 2, "scheduler": "tcp://a:1"}, "either --processes or --scheduler"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        Cluster(**options)


@pytest.mark.parametrize("options", [{"processes": "2"}, {"scheduler": "tcp://a:8786"}])
def test_missing_dask_is_said_with_the_way_out_where_it_is_used(options, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert not Cluster().wanted
    with pytest.raises(SystemExit, match=r"error: .* need dask\.distributed: pip install -e '\.\[cluster\]'"):
        Cluster(**options)


def test_a_scheduler_that_is_not_there_is_named(folder):
    with pytest.raises(SystemExit, match=r"error: scheduler file .*gone\.json does not exist"):
        register(folder, "out", scheduler=str(folder / "gone.json"))
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(SystemExit, match=r"error: no dask scheduler answers at tcp://127\.0\.0\.1:9 \("):
            register(folder, "out", scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("visible", "count", "given"),
    [(None, 1, [None] * 3), (None, 0, [None] * 3), (None, 2, ["0", "1", "0"]), ("5,7", 2, ["5", "7", "5"])],
)
def test_gpus_are_dealt_out_to_the_processes_in_turn(visible, count, given):
    assert [assign_gpu(number, visible, count) for number in range(3)] == given


def command(folder: Path, output: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line with real processes."""
    options = {"pairs": folder / "pairs.csv", "output_dir": folder / output, **options}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    config = folder / "bundle" / "inference.yaml"
    return subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder / 'parts'}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_pairs_whose_process_was_killed_are_done_once_and_whole(folder):
    serial = register(folder, "serial")
    (folder / "parts" / "log.txt").unlink()
    order(folder, "kill", "one")  # while it is registered
    order(folder, "kill_writing", "two")  # half of its files are written
    order(folder, "kill_after", "three")  # all are written, but the run does not know
    done = command(folder, "out", processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(serial, folder / "out")  # no hidden folder either
    assert sorted(attempts(folder)) == ["four", "one", "one", "three", "two", "two"]
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert {line.split()[1] for line in lines} == {f"{name}:" for name in NAMES}


@pytest.mark.slow
def test_a_pair_that_kills_every_process_fails_alone_and_one_that_fails_is_not_tried_again(folder):
    order(folder, "kill_always", "two")
    order(folder, "fail", "three")
    done = command(folder, "out", processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {name: row["status"] for name, row in table_rows(folder / "out").items()} == {
        "one": "poor", "two": "failed", "three": "failed", "four": "poor",
    }  # fmt: skip
    assert "its process was killed, also when it ran alone" in table_rows(folder / "out")["two"]["reason"]
    assert attempts(folder).count("three") == 1
    assert "[4/4] two: failed: a.png onto b.png: its process was killed" in done.stdout
    assert not list((folder / "out").glob(".*"))
    (folder / "parts" / "two.kill_always").unlink()
    again = command(folder, "out", processes=2)
    assert again.returncode == 0, again.stderr[-3000:]
    assert table_rows(folder / "out")["two"]["status"] == "poor"


@pytest.mark.slow
def test_processes_share_the_work_and_keep_to_their_threads(folder):
    assert command(folder, "out", processes=2).returncode == 0
    lines = [line.split() for line in (folder / "parts" / "log.txt").read_text().splitlines()]
    assert len({process for _, process, _ in lines}) == 2
    assert {threads for _, _, threads in lines} == {"1"}


@pytest.mark.slow
def test_dask_is_imported_only_where_it_is_used(folder):
    look = "import sys, custom_components.engines; sys.exit(bool({'dask', 'distributed'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("bundle", sorted(path.name for path in (ROOT / "bundles").iterdir()))
def test_every_bundle_leaves_what_its_serial_run_leaves(
    bundle: str, textured_tissue: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    monkeypatch.chdir(ROOT)
    options: dict[str, Any] = {"pairs": str(textured_tissue()), "report": False, "device": "cpu", "working_size": 192}
    for output, more in (("serial", {}), ("there", {"scheduler": scheduler})):
        run(config_file=f"bundles/{bundle}/configs/evaluate.yaml", output_dir=str(tmp_path / output), **options, **more)
    assert_same(tmp_path / "serial", tmp_path / "there")


@pytest.fixture
def textured_tissue(tmp_path: Path) -> Callable[[], Path]:
    """A table of two pairs of a section and its shifted self, textured enough for matches."""

    def write() -> Path:
        rows, columns = np.mgrid[-1:1:192j, -1:1:192j]
        noise = gaussian_filter(np.random.default_rng(0).normal(size=(192, 192, 3)), (2, 2, 0))
        picture = np.where((rows**2 + columns**2 < 0.8)[..., None], 120 + 50 * noise / noise.std(), 244)
        for number in range(2):
            image = np.roll(picture.clip(0, 255).round().astype(np.uint8), 3 * number, axis=1)
            write_image(tmp_path / f"{number}.png", image.transpose(2, 0, 1))
        (tmp_path / "pairs.csv").write_text("id,moving,fixed\nthere,0.png,1.png\nback,1.png,0.png\n")
        return tmp_path / "pairs.csv"

    return write
