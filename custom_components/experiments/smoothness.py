"""The weight of the smoothness, lambda, chosen on validation pairs, on this machine or by Slurm."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.experiments.methods import CONFIGS, Method, parse_method, parse_options
from custom_components.experiments.runs import train_and_register
from custom_components.pairs import atomic_path, select_pairs

CONFIG = "tune.yaml"


class SmoothnessGrid:
    """Trains and evaluates once for every lambda and says which is best.

    The best has the highest mean Dice among those that fold no more than allowed. What is done is passed over, so a
    grid may be stopped and taken up again, and jobs of a cluster are collected by running it once more.

    Args:
        pairs: pair table with label maps; rows of status "training" train.
        output_dir: a folder for each lambda, ``tune.csv``, ``tune.md``.
        method: as ``parse_method`` reads it, without its lambda: "ncc", "ncc+sup", "deepsim-ae".
        values: of lambda.
        extractor: of "deepsim".
        options: of train.yaml and evaluate.yaml, ``key=value`` divided by spaces.
        status: of the rows that judge.
        most_folding: share of voxels with a negative Jacobian determinant that is allowed.
        slurm: submit the grid as a job array with ``sbatch``; "auto" does so where there is one.
        dry_run: with ``slurm``, only write the script and say how it would be submitted.
        sbatch_options: such as "--gres=gpu:1 --time=02:00:00".
        job: number of the one value to do, as Slurm's array gives it; None does all.

    Raises:
        InputError: no values, or the method or an option is wrong.
    """

    def __init__(
        self,
        pairs: str,
        output_dir: str,
        method: str,
        values: Sequence[float],
        extractor: str | None = None,
        options: str = "",
        status: str = "validation",
        most_folding: float = 0.01,
        slurm: bool | str = "auto",
        dry_run: bool | str = False,
        sbatch_options: str = "",
        job: int | None = None,
    ) -> None:
        if not values:
            raise InputError("values names the lambdas to try, got none")
        self.pairs = pairs
        self.folder = Path(output_dir)
        self.method = method
        self.extractor = extractor
        self.values = [float(value) for value in values]
        self.methods = [self._method(value) for value in self.values]
        self.options = options
        self.given = parse_options(options)
        self.status = status
        self.most_folding = most_folding
        self.slurm = shutil.which("sbatch") is not None if slurm == "auto" else booleans.parse_bool(slurm, "slurm")
        self.dry_run = booleans.parse_bool(dry_run, "dry_run")
        self.sbatch_options = sbatch_options
        self.job = job

    def _method(self, value: float) -> Method:
        file = "" if self.extractor is None else f"={self.extractor}"
        return parse_method(f"{self.method}:{value:g}{file}")

    def run(self) -> None:
        """All values here, one value as a job, or the submission; see the class.

        Raises:
            InputError: see ``train_and_register``; there is no such job.
        """
        if self.job is not None:
            if not 0 <= int(self.job) < len(self.values):
                raise InputError(f"job is 0 to {len(self.values) - 1}, got {self.job}")
            self.point(int(self.job))
        elif self.slurm and not self.is_done():
            self.submit()
        else:
            for index in range(len(self.values)):
                self.point(index)
            print(self.collect())

    def is_done(self) -> bool:
        """Whether every value has its rows."""
        return all(self._rows(index).is_file() for index in range(len(self.values)))

    def _rows(self, index: int) -> Path:
        return self.folder / f"{self.methods[index].name}_{self.values[index]:g}" / "rows.csv"

    def point(self, index: int) -> pd.DataFrame:
        """Training and evaluation with one lambda, a row a pair."""
        file = self._rows(index)
        if not file.is_file():
            chosen = select_pairs(self.pairs, status=self.status)
            rows = train_and_register(
                self.methods[index], 0, self.pairs, self.status, file.parent, self.given, chosen
            )  # fmt: skip
            with atomic_path(file) as temporary:
                rows.assign(smoothness=self.values[index]).to_csv(temporary, index=False)
        return pd.read_csv(file)

    def collect(self) -> str:
        """Means of every value, written to ``tune.csv`` and ``tune.md``, and which is best."""
        table = pd.concat([self.point(index) for index in range(len(self.values))])
        means = table.groupby("smoothness")[["dice", "folding", "deviation"]].mean().reset_index()
        points = [{str(key): float(value) for key, value in row.items()} for row in means.to_dict("records")]
        lines = ["| lambda | mean Dice | folded, % | sd log J |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {p['smoothness']:g} | {p['dice']:.4f} | {100 * p['folding']:.3f} | {p['deviation']:.3f} |"
            for p in points
        ]
        allowed = [point for point in points if point["folding"] <= self.most_folding]
        if allowed:
            verdict = f"best: {max(allowed, key=lambda point: point['dice'])['smoothness']:g}"
        else:
            verdict = f"none folds less than {100 * self.most_folding:g} %: try larger values"
        text = "\n".join([*lines, "", f"{self.method}, {verdict}"])
        with atomic_path(self.folder / "tune.csv") as temporary:
            means.assign(method=self.method).to_csv(temporary, index=False)
        with atomic_path(self.folder / "tune.md") as temporary:
            temporary.write_text(text + "\n")
        return text

    def script(self) -> str:
        """The job array that ``sbatch`` takes: one job a value, in this folder, with this Python."""
        arguments = {
            "pairs": self.pairs, "output_dir": self.folder, "method": self.method, "values": self.values,
            "extractor": self.extractor, "options": self.options, "status": self.status,
        }  # fmt: skip
        words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / CONFIG)]
        for key, value in arguments.items():
            words += [f"--{key}", str(value)] if value not in (None, "") else []
        lines = [
            "#!/bin/bash",
            "#SBATCH --job-name=tune",
            f"#SBATCH --array=0-{len(self.values) - 1}",
            f"#SBATCH --output={self.folder}/job_%a.log",
            *(f"#SBATCH {option}" for option in self.sbatch_options.split()),
            f"cd {shlex.quote(str(Path.cwd()))}",
            f'{shlex.join(words)} --job "$SLURM_ARRAY_TASK_ID"',
        ]
        return "\n".join(lines) + "\n"

    def submit(self) -> None:
        """Write ``submit.sh`` and hand it to ``sbatch``, or with ``dry_run`` say so.

        Raises:
            InputError: there is no ``sbatch``, or it refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "submit.sh"
        with atomic_path(file) as temporary:
            temporary.write_text(self.script())
        if self.dry_run:
            print(f"{file} is written; submit it with: sbatch {file}")
            return
        if shutil.which("sbatch") is None:
            raise InputError("there is no sbatch on this machine; leave slurm out to run here, or give --dry_run true")
        answer = subprocess.run(["sbatch", str(file)], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise InputError(f"sbatch {file} failed: {answer.stderr.strip()}")
        print(f"{answer.stdout.strip()}; repeat this command when all jobs are done")
