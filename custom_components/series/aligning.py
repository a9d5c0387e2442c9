"""A whole series: reference, registrations, routes, and one result a section in the reference's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from custom_components.bundles.places import DEFAULT
from custom_components.common import booleans
from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import Data, check_attached
from custom_components.fields import Link, chain_ddf
from custom_components.inferers.result import Stage
from custom_components.outputs.identity import run_record
from custom_components.outputs.outcome import failure_reason
from custom_components.outputs.prepared import Output
from custom_components.outputs.summary import write_summary
from custom_components.outputs.targets import is_same_run
from custom_components.outputs.writer import versions, write_failure
from custom_components.pairs import Pair
from custom_components.results.record import METRICS, read_metrics
from custom_components.series.composing import grid_to_pixels, write_section
from custom_components.series.pair_runs import PairRuns
from custom_components.series.recording import Run, warped_file, write_preview, write_record
from custom_components.series.reference import choose_reference
from custom_components.series.routes import MODES, Outcome, Route, best_routes, other_routes, register_all
from custom_components.series.sections import make_pair, read_sections
from custom_components.series.stack import write_stack


@dataclass(frozen=True)
class Composer:
    """Brings sections onto the reference by the registrations that are done.

    Attributes:
        runs: the registrations.
        reference: number of the reference.
        outcomes: of the registrations.
        routes: to the sections that can be reached.
        both_ways: whether routes also go backwards over registrations.
        output_dir: of the series.
        resume: keep results that are there already and made of the same.
    """

    runs: PairRuns
    reference: int
    outcomes: Sequence[Outcome]
    routes: dict[int, Route]
    both_ways: bool
    output_dir: Path
    resume: bool

    def __call__(self, number: int) -> dict[str, Any]:
        """Write the folder of a section unless it is there; returns its metrics, of a failure too."""
        section, start = self.runs.sections[number], perf_counter()
        pair = make_pair(section, self.runs.sections[self.reference], section.id)
        if number not in self.routes:
            return write_failure(pair, self._why_not(number), self.output_dir, 0.0)
        made_of = self._made_from(pair, self.routes[number])
        pair = replace(pair, run=run_record(pair, self.runs.run_settings, versions()))
        if self.resume and self._is_done(pair, made_of):
            return read_metrics(self.output_dir / pair.id)
        try:
            check_attached(pair)
            data = self.runs.prepare({"pair": pair})
            metrics = self._write(pair, data, number, made_of, start)
            write_preview(self.output_dir / pair.id)
        except Exception as error:  # one section of a series must not take the others with it
            return write_failure(pair, failure_reason(error, pair), self.output_dir, perf_counter() - start)
        return metrics

    def _write(self, pair: Pair, data: Data, number: int, made_of: dict[str, Any], start: float) -> dict[str, Any]:
        route = self.routes[number]
        steps = [self._step(*ends) for ends in _steps(route)]
        details = {
            "made_of": made_of, "dtype": data["moving"].meta["dtype"], "disagreement": self._disagreement(data, number)
        }  # fmt: skip
        report = booleans.parse_bool(self.runs.setting("report", True), "report")
        output = Output(self.output_dir, self.runs.setting("output_ext"), report, self._note(number))
        return write_section(
            pair, data, self._links(route), output, steps=steps, warnings=route.warnings, details={"series": details},
            seconds=sum(step.seconds for step in steps) + perf_counter() - start,
        )  # fmt: skip

    def _links(self, route: Route) -> list[Link]:
        return [self._link(*ends) for ends in _steps(route)]

    def _backwards(self, start: int, end: int) -> bool:
        return not any((o.fixed, o.moving) == (start, end) and o.status != "failed" for o in self.outcomes)

    def _link(self, start: int, end: int) -> Link:
        backwards = self._backwards(start, end)
        return self.runs.link(*((end, start) if backwards else (start, end)), backwards)

    def _record(self, start: int, end: int) -> tuple[int, int]:
        """(fixed, moving) of the registration that a step goes over."""
        return (end, start) if self._backwards(start, end) else (start, end)

    def _step(self, start: int, end: int) -> Stage:
        """What the record says of a registration on the way."""
        metrics, ids = self.runs.metrics(*self._record(start, end)), [s.id for s in self.runs.sections]
        figures = {name: metrics[name] for name in ("matches", "similarity", "folding_share")}
        return Stage(f"{ids[end]} onto {ids[start]}", metrics["seconds"]["total"], figures)

    def _note(self, number: int) -> str:
        ids = [section.id for section in self.runs.sections]
        between = [ids[step] for step in self.routes[number].path[1:-1]]
        if number == self.reference:
            return "The reference of the series: it stays as it is."
        way = f"over {', '.join(reversed(between))}" if between else "directly"
        return f"Section of a series, brought onto the reference {ids[self.reference]} {way}."

    def _disagreement(self, data: Data, number: int) -> float | None:
        """Median distance over the tissue, pixels of the section, to where the other ways lead; the median way's."""
        others = other_routes(number, self.routes, self.outcomes, self.both_ways)
        if not others:
            return None
        grid, end = grid_to_pixels(data, "fixed"), grid_to_pixels(data, "moving")
        spatial = tuple(data["working_fixed"].shape[1:])
        tissue = torch.as_tensor(data["mask_fixed"]).as_subclass(torch.Tensor)[0] > 0.5
        chosen, *rest = (
            torch.from_numpy(end[:-1, :-1]).float() @ chain_ddf(self._links(route), grid, end, spatial)[0][:, tissue]
            for route in (self.routes[number], *others)
        )
        return float(np.median([float((field - chosen).norm(dim=0).median()) for field in rest]))

    def _made_from(self, pair: Pair, route: Route) -> dict[str, Any]:
        """All that a section's result depends on but the images themselves."""
        ids = [section.id for section in self.runs.sections]
        files = (pair.moving, pair.fixed, pair.moving_landmarks, pair.fixed_landmarks, pair.moving_annotations)
        return {
            "path": [ids[step] for step in route.path],
            "pairs": [self.runs.pair_path(*self._record(*ends)).name for ends in _steps(route)],
            "files": [str(file) for file in (*files, pair.moving_labels, pair.fixed_labels) if file is not None],
            "output_ext": self.runs.setting("output_ext"),
        }

    def _is_done(self, pair: Pair, made_of: dict[str, Any]) -> bool:
        """Whether the result is there, made of the same, and no older than the registrations on its way."""
        folder = self.output_dir / pair.id
        same = is_same_run(self.output_dir, pair, self.runs.run_settings)
        if not same or (read_metrics(folder).get("series") or {}).get("made_of") != made_of:
            return False
        folders = [folder, *(self.runs.folder / name for name in made_of["pairs"])]
        times = [(place / METRICS).stat().st_mtime for place in folders]
        return bool(times[0] >= max(times))

    def _why_not(self, number: int) -> str:
        tried = [o.reason.rstrip(".") for o in self.outcomes if number in (o.fixed, o.moving) and o.reason]
        return "; ".join(dict.fromkeys(tried)) or "no registration leads to it"


def _steps(route: Route) -> list[tuple[int, int]]:
    return list(pairwise(route.path))


def format_line(metrics: dict[str, Any], path: Sequence[str]) -> str:
    """One line for the console."""
    if metrics["status"] == "failed":
        return f"{metrics['id']}: failed: {metrics['reason']}"
    text = f"{metrics['id']}: {metrics['status']}, " + (" > ".join(path) if len(path) > 1 else "reference")
    if metrics.get("landmarks") and len(path) > 1:
        marks = metrics["landmarks"]
        text += f", mean rTRE {marks['initial_mean']:.5f} -> {marks['mean']:.5f}, robustness {marks['robustness']:.3f}"
    return text + (f" ({metrics['reason']})" if metrics["reason"] else "")


def align_series(
    images: str | Path | Sequence[str | Path],
    bundle: str | Path = DEFAULT,
    output_dir: str | Path = "out",
    reference: str | None = None,
    mode: str = "both",
    stack: bool | str = False,
    resume: bool | str = True,
    reach: int = 2,
    **settings: Any,
) -> dict[str, Any]:
    """Bring all sections of a series into one frame; returns what series.json holds.

    Args:
        images: see ``read_sections``.
        bundle: that registers the pairs, by name or path, or a config file.
        output_dir: made if absent.
        reference: id of the section that stays, "middle", or None to choose it, see ``choose_reference``.
        mode: which pairs are registered, see ``register_all``.
        stack: also write all sections into stack.ome.tif.
        resume: go on where an earlier run stopped.
        reach: good sections that a section is tried on before it is left out, see ``register_neighbours``.
        settings: other values for keys of the bundle's config.

    Raises:
        InputError: an argument, table or file is wrong, or no section but the reference has a result.
    """
    if mode not in MODES:
        raise InputError(f"--mode is {', '.join(MODES[:-1])} or {MODES[-1]}, got '{mode}'")
    if reach < 1:
        raise InputError(f"--reach is 1 or more, got {reach}")
    stacked, going_on = (booleans.parse_bool(value, name) for name, value in (("stack", stack), ("resume", resume)))
    root = Path(output_dir)
    sections = read_sections(images)
    runs = PairRuns(sections, bundle, root, settings, going_on)
    number, why = choose_reference(sections, reference, runs.setting("channel"))
    say(f"{len(sections)} sections, reference {sections[number].id}: {why}")
    outcomes = register_all(mode, len(sections), number, runs, reach)
    write_summary(runs.folder)
    both_ways = mode == "all_pairs"
    routes = best_routes(number, outcomes, both_ways)
    compose = Composer(runs, number, outcomes, routes, both_ways, root, going_on)
    paths = [routes[n].path if n in routes else () for n in range(len(sections))]
    metrics = []
    for n in range(len(sections)):
        metrics.append(compose(n))
        say(format_line(metrics[-1], [sections[step].id for step in paths[n]]))
    paths = [path if m["status"] != "failed" else () for path, m in zip(paths, metrics, strict=True)]
    run = Run(sections, number, why, mode, paths, metrics, outcomes, str(runs.config), settings)
    record = write_record(run, root)
    if not any(path for n, path in enumerate(paths) if n != number):
        raise InputError(
            f"no section could be brought onto the reference '{sections[number].id}'; the reasons are in "
            f"{root / 'index.html'}. If it is the reference that is bad, name another with --reference"
        )
    if stacked:
        _write_stack(run, root)
    return record


def _write_stack(run: Run, root: Path) -> None:
    """All sections that have a result, poor ones too, in the order of the series."""
    there = [(s, m) for s, m, path in zip(run.sections, run.metrics, run.paths, strict=True) if path]
    files = [file for section, _ in there if (file := warped_file(root / section.id)) is not None]
    reference = run.metrics[run.reference]
    height, width = reference["warped_grid"]["shape"]
    write_stack(
        root / "stack.ome.tif", files, [section.id for section, _ in there], [m["series"]["dtype"] for _, m in there],
        (height, width), reference["warped_pixel_size"],
    )  # fmt: skip
