"""Handlers that put a run's results on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from sys import exit
from traceback import format_exception
from typing import Any

from ignite.engine import Engine, Events

from custom_components.common import booleans
from custom_components.common.console import LOG, counted, say, stage
from custom_components.common.errors import InputError, told_cause
from custom_components.outputs.expected_error import typical_error
from custom_components.outputs.outcome import PairOutcome, failure_reason
from custom_components.outputs.prepared import Output, PreparedPair
from custom_components.outputs.report import landmark_error
from custom_components.outputs.submission import write_submission
from custom_components.outputs.summary import write_summary
from custom_components.outputs.targets import check_submission
from custom_components.outputs.writer import write_failure, write_registration
from custom_components.pairs.zarr_form import is_zarr_name, load_zarr


class RegistrationWriter:
    """Writes each pair's folder, unless the process that registered it has, and says in one line how it went.

    Args:
        output_dir: made if absent.
        output_ext: of the warped image; None keeps the moving image's.
        report: write report.html for each pair.
        note: a remark on the data, for report and metrics.

    Raises:
        InputError: OME-Zarr is asked for and the package zarr is missing: before the work rather than after it.
    """

    def __init__(
        self, output_dir: str | Path, output_ext: str | None = None, report: bool = True, note: str = ""
    ) -> None:
        self.output_dir = Path(output_dir)
        self.output_ext = output_ext
        self.report = booleans.parse_bool(report, "report")
        self.note = note
        if output_ext and is_zarr_name(f".{output_ext}"):
            load_zarr(self.output_dir)

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the outcome of this iteration; a failure to write makes the pair a failed one."""
        outcome: PairOutcome = engine.state.output
        if outcome.metrics is None:
            engine.state.output = outcome = self.write(outcome)
        assert outcome.metrics is not None
        say(f"[{engine.state.iteration}/{engine.state.epoch_length}] {format_line(outcome.metrics)}")
        for note in outcome.metrics.get("notes", []):
            say(f"  note: {note}")
        for note in outcome.metrics.get("annotations", {}).get("notes", []):
            say(f"  annotations: {note}")

    def write(self, outcome: PairOutcome) -> PairOutcome:
        """Write the pair's folder; returns the outcome with its metrics, failed where writing has."""
        stage("writing")
        try:
            metrics = self._write(outcome)
        except Exception as error:  # a full disk, wrong landmarks, or a defect: the cohort goes on
            outcome = replace(outcome, reason=failure_reason(error, outcome.pair), error=error)
            metrics = self._write_failure(outcome)
        if outcome.error is not None:
            self._log(outcome.error, outcome.pair.id)
        return replace(outcome, metrics=metrics)

    def _log(self, error: BaseException, pair_id: str) -> None:
        """Keep the traceback of what nobody foresaw in ``warpzoo.log`` of the output folder."""
        if told_cause(error) is not None:
            return
        try:
            with (self.output_dir / LOG).open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {pair_id}\n{''.join(format_exception(error))}\n")
            say(f"  the traceback of this is in {self.output_dir / LOG}")
        except OSError:  # the folder can't be written, which is said elsewhere
            pass

    def _write(self, outcome: PairOutcome) -> dict[str, Any]:
        if outcome.reason or outcome.data is None or outcome.registration is None:
            return write_failure(outcome.pair, outcome.reason, self.output_dir, outcome.seconds)
        prepared = PreparedPair.of(outcome.data, outcome.pair)
        output = Output(self.output_dir, self.output_ext, self.report, self.note)
        return write_registration(outcome.registration, prepared, output, outcome.seconds)

    def _write_failure(self, outcome: PairOutcome) -> dict[str, Any]:
        try:
            return write_failure(outcome.pair, outcome.reason, self.output_dir, outcome.seconds)
        except InputError:  # the folder itself can't be written: the console is all that is left
            return {"id": outcome.pair.id, "status": "failed", "reason": outcome.reason}


def format_line(metrics: dict[str, Any]) -> str:
    """One line for the console."""
    if metrics["status"] == "failed":
        kept = " (the earlier result is kept)" if metrics.get("kept") else ""
        return f"{metrics['id']}: failed: {metrics['reason']}{kept}"
    error = f", {typical_error(metrics['expected_error'])}" if metrics.get("expected_error") else ""
    text = f"{metrics['id']}: {metrics['status']}{error}, {metrics['matches']} matches"
    text += f", {metrics['seconds']['total']:.1f} s"
    if metrics.get("landmarks"):
        marks = metrics["landmarks"]
        name = "TRE" if "unit" in marks else "rTRE"
        before, after = (landmark_error(marks[key], marks) for key in ("initial_mean", "mean"))
        text += f", mean {name} {before} -> {after}, robustness {marks['robustness']:.3f}"
    return text + (f" ({metrics['reason']})" if metrics["reason"] else "")


class SummaryWriter:
    """Writes summary.csv, summary.json and index.html at the end, and the challenge's submission form on request.

    Args:
        output_dir: of the run.
        submission: write ``submission/`` too.
    """

    def __init__(self, output_dir: str | Path, submission: bool = False) -> None:
        self.output_dir = Path(output_dir)
        self.submission = booleans.parse_bool(submission, "submission")

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self.check)
        engine.add_event_handler(Events.COMPLETED, self)

    def check(self, engine: Engine) -> None:
        """Before the work: a folder of the user's may have the submission's name.

        Raises:
            SystemExit: with one line that says so.
        """
        try:
            if self.submission:
                check_submission(self.output_dir)
        except InputError as error:
            exit(f"error: {error}")

    def __call__(self, engine: Engine) -> None:
        """Write and print the aggregates.

        Raises:
            SystemExit: with one line: they can't be written, as on a full disk.
        """
        if not self.output_dir.is_dir():
            return
        try:
            self._write(engine)
        except InputError as error:
            exit(f"error: {error}")

    def _write(self, engine: Engine) -> None:
        summary = write_summary(self.output_dir)
        states = ", ".join(f"{summary[state]} {state}" for state in ("ok", "poor", "failed"))
        done = len(engine.outcomes)
        where = "" if done == summary["pairs"] else f" in {self.output_dir}"
        say(f"{counted(summary['pairs'], 'pair')}{where}: {states}")
        for name, reason in summary["failed_repeats"].items():
            say(f"{name}: the last repeat failed, the result before it is kept: {reason}")
        if summary["scored"]:
            say(", ".join(f"{k} {v:.5f}" if isinstance(v, float) else f"{k} {v}" for k, v in summary["scored"].items()))
        for unit, means in (summary["scored_volumes"] or {}).items():
            figures = ", ".join(f"{k} {v:.3f}" for k, v in means.items() if k != "pairs")
            say(f"volumes with landmarks {means['pairs']}, TRE in {unit}s: {figures}")
        pages = [self.output_dir / "index.html"]
        if done == 1:
            pages.insert(0, self.output_dir / engine.outcomes[0][0] / "report.html")
        page = next((page for page in pages if page.is_file()), None)
        if page is not None:
            say(f"look at {page}")
        if self.submission:
            check_submission(self.output_dir)
            # all pairs that were asked for: those of an earlier run as well
            say(f"wrote {write_submission(engine.dataset.pairs, self.output_dir)}")
