"""Time of a cohort one pair after another and on dask workers, and whether the results are the same.

    python -m benchmarks.cohort --pairs pairs.csv --status training --workers 1 2

Prints Markdown. Every run is the command of docs/clusters.md in a process of its own, start and end of the workers
included, with one thread a process.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from custom_components.pairs import read_pairs

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ("displacement.mha", "inverse_displacement.mha", "displacement.nii.gz", "inverse_displacement.nii.gz")


@dataclass(frozen=True)
class Run:
    """One run of the cohort.

    Attributes:
        workers: processes; 0 for one pair after another.
        seconds: of the whole command.
        cpu: seconds of all its processes on the cores, which other work on the machine hardly changes.
        load: average number of other and own processes that ran or waited to, over its last minute.
        output_dir: what it left.
    """

    processes: int
    seconds: float
    cpu: float
    load: float
    output_dir: Path


def table_part(pairs: Path, status: str | None, limit: int, to: Path) -> Path:
    """A pair table ``to`` of the first ``limit`` pairs with that status, absolute paths and landmarks in it."""
    chosen = [pair for pair in read_pairs(pairs) if status is None or pair.extra.get("status") == status]
    columns = ("moving", "fixed", "moving_landmarks", "fixed_landmarks")
    with to.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *columns])
        for pair in islice(chosen, limit):
            files = [getattr(pair, column) for column in columns]
            writer.writerow([pair.id, *("" if file is None else Path(file).resolve() for file in files)])
    return to


def timed(bundle: str, table: Path, processes: int, output_dir: Path, more: Sequence[str] = ()) -> Run:
    """Run a bundle's inference.yaml over the table.

    Raises:
        CalledProcessError: the command failed.
    """
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", f"bundles/{bundle}/configs/inference.yaml",
        "--pairs", str(table), "--output_dir", str(output_dir), "--processes", str(processes),
        "--report", "false", *more,
    ]  # fmt: skip
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
    start, spent = time.perf_counter(), cpu_of_children()
    with (output_dir.parent / f"{output_dir.name}.log").open("w") as log:
        subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, stdout=log, stderr=log, check=True)
    seconds = time.perf_counter() - start
    return Run(processes, seconds, cpu_of_children() - spent, os.getloadavg()[0], output_dir)


def cpu_of_children() -> float:
    """Seconds on the cores of all processes that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def table_rows(output_dir: Path) -> list[dict[str, str]]:
    """summary.csv without its seconds."""
    with (output_dir / "summary.csv").open(newline="") as stream:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def same(first: Path, second: Path) -> bool:
    """Whether two runs left the same summary and, byte for byte, the same fields."""
    names = [[str(file.relative_to(root)) for name in FIELDS for file in sorted(root.glob(f"*/{name}"))]
             for root in (first, second)]  # fmt: skip
    if table_rows(first) != table_rows(second) or names[0] != names[1]:
        return False
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names[0])


def markdown_table(runs: Sequence[Run], count: int) -> str:
    """Markdown; times and results are compared with those of the first run."""
    lines = ["| run | seconds | pairs a minute | speed-up | CPU seconds | load | results |", "| --- |" + 6 * " --- |"]
    first = runs[0]
    for run in runs:
        name = f"`--processes {run.processes}`" if run.processes else "serial"
        equal = "the same" if same(first.output_dir, run.output_dir) else "differ"
        lines.append(
            f"| {name} | {run.seconds:.0f} | {60 * count / run.seconds:.1f} | {first.seconds / run.seconds:.2f} | "
            f"{run.cpu:.0f} | {run.load:.1f} | {'' if run is first else equal} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="pair table")
    parser.add_argument("--status", help="only the rows with this status")
    parser.add_argument("--limit", type=int, default=50, help="first so many of them")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="runs beside the serial one")
    parser.add_argument("--bundle", default="hybrid_matching")
    parser.add_argument("--output_dir", type=Path, help="keep what the runs leave; default a temporary folder")
    arguments, more = parser.parse_known_args()
    with TemporaryDirectory() as temporary:
        folder: Path = arguments.output_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = table_part(arguments.pairs, arguments.status, arguments.limit, folder.resolve() / "pairs.csv")
        runs = [
            timed(arguments.bundle, table, processes, folder.resolve() / f"workers_{processes}", more)
            for processes in (0, *arguments.processes)
        ]
        count = len(table_rows(runs[0].output_dir))
        print(f"{count} pairs, `{arguments.bundle}`, one thread a process, {os.cpu_count()} cores\n")
        print(markdown_table(runs, count))


if __name__ == "__main__":
    main()
