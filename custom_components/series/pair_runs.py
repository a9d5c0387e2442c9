"""The registrations of a series, one pair at a time by a bundle's config, each once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import torch

from custom_components.bundles import find_bundle, open_bundle
from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.engines import PairEvaluator
from custom_components.engines.pair_evaluator import Data, PairDataset
from custom_components.fields import Link
from custom_components.handlers import RegistrationWriter
from custom_components.inferers.result import PairImages, Registration
from custom_components.outputs.identity import read_run_settings
from custom_components.outputs.pair_folder import SUMMARIES, check_writable, clear_leftovers
from custom_components.outputs.targets import check_same_images, check_targets, is_same_run, pairs_to_do
from custom_components.outputs.writer import versions
from custom_components.pairs import atomic_path
from custom_components.results.folder import ResultFolder
from custom_components.results.record import read_metrics
from custom_components.series.routes import Outcome
from custom_components.series.sections import PAIRS, RESERVED, Section, make_pair, pair_id

# keys of a bundle that the series sets itself, pair by pair
OWN = (
    "output_dir", "dataset", "evaluator", "handlers", "run", "pairs", "status", "moving", "fixed", "moving_landmarks",
    "fixed_landmarks", "moving_annotations", "moving_labels", "fixed_labels", "id", "resume", "submission",
    "processes", "scheduler",
)  # fmt: skip


def config_file(bundle: str | Path) -> Path:
    """The config of a bundle's folder; a YAML file is taken as it is."""
    path = Path(bundle)
    if path.suffix in (".yaml", ".yml", ".json"):
        return path
    return find_bundle(path) / "configs" / "inference.yaml"


def _read_or_none(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


class PairRuns:
    """Registers sections onto each other.

    Args:
        sections: in order.
        bundle: folder of a bundle, or a config file.
        output_dir: of the series; the pairs go into its folder ``pairs``.
        settings: other values for the config's keys.
        resume: take pairs that are there already.

    Raises:
        InputError: the config has no such key, the series sets it itself, the folder can't be written, or holds pairs
            that were registered with other settings.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        bundle: str | Path,
        output_dir: str | Path,
        settings: Mapping[str, Any],
        resume: bool | str = True,
    ) -> None:
        self.sections = list(sections)
        self.folder = Path(output_dir) / PAIRS
        self.config = config_file(bundle)
        self.settings = dict(settings)
        self.resume = booleans.parse_bool(resume, "resume")
        own = [key for key in settings if key.split("::")[0] in OWN]
        if own:
            raise InputError(f"a series sets '{own[0]}' itself, for every pair")
        self._parser = open_bundle(self.config, **settings).parser()
        self.run_settings = read_run_settings(self._parser.config)
        self._check_folders(Path(output_dir))
        check_writable(self.folder)
        self._agree_on_settings()
        self.device = torch.device(self.setting("device", "cpu"))

    def _check_folders(self, root: Path) -> None:
        """Nothing but earlier results lies where sections and pairs are written, and no input does."""
        sections = [make_pair(section, section, section.id) for section in self.sections]
        pairs = [make_pair(*two, pair_id(*two)) for two in permutations(self.sections, 2)]
        clear_leftovers(root, {pair.id for pair in sections}, RESERVED)
        clear_leftovers(self.folder, {pair.id for pair in pairs}, (*SUMMARIES, "settings.json"))
        check_targets(sections, root, reserved=RESERVED)
        check_targets(pairs, self.folder, reserved=(*SUMMARIES, "settings.json"))
        check_same_images(pairs, self.folder)

    def _agree_on_settings(self) -> None:
        """Note the settings beside the pairs; a run that goes on must have the same."""
        file, wanted = self.folder / "settings.json", {"config": str(self.config), "settings": self.settings}
        wanted = json.loads(json.dumps(wanted, default=str))
        if self.resume and file.is_file() and _read_or_none(file) != wanted:
            raise InputError(
                f"the pairs in {self.folder} were registered with other settings, see {file.name} there; "
                "choose another output_dir, or do all again with --resume false"
            )
        with atomic_path(file) as partial:
            partial.write_text(json.dumps(wanted, indent=1))

    def setting(self, key: str, default: Any = None) -> Any:
        """The value of a key of the config, ``default`` where it has no such key."""
        return self._parser.get_parsed_content(key) if key in self._parser.config else default

    def prepare(self, data: Data) -> Data:
        """Read and prepare ``data["pair"]`` as the bundle does.

        Raises:
            InputError: the images are volumes.
        """
        prepared: Data = self._parser.get_parsed_content("preprocessing")(data)
        if prepared["fixed"].ndim != 3:
            raise InputError(f"{data['pair'].fixed}: a volume; a series is of 2-D sections")
        return prepared

    def _inferer(self) -> Callable[[PairImages], Registration]:
        inferer: Callable[[PairImages], Registration] = self._parser.get_parsed_content("inferer")
        return inferer

    def __call__(self, fixed: int, moving: int) -> Outcome:
        """Register one section onto another unless that is done; failures are recorded with their reason."""
        two = self.sections[moving], self.sections[fixed]
        pair = make_pair(*two, pair_id(*two))
        if not (self.resume and is_same_run(self.folder, pair, self.run_settings)):
            (pair,) = pairs_to_do([pair], self.folder, self.run_settings, versions(), resume=False)
            writer = RegistrationWriter(self.folder, report=self.setting("report", True))
            evaluator = PairEvaluator(
                PairDataset([pair], [pair], self.folder), self.prepare, self._inferer(), self.device, [writer]
            )
            with suppress(SystemExit):  # how a run ends whose only pair failed; why is in its record
                evaluator.run()
        metrics = self.metrics(fixed, moving)
        return Outcome(
            fixed, moving, metrics["status"], metrics["reason"], metrics.get("matches", 0), metrics.get("similarity")
        )

    def pair_path(self, fixed: int, moving: int) -> Path:
        """Where the registration lies."""
        return self.folder / pair_id(self.sections[moving], self.sections[fixed])

    def metrics(self, fixed: int, moving: int) -> dict[str, Any]:
        """metrics.json of a registration.

        Raises:
            InputError: it was not written, or is damaged.
        """
        try:
            return read_metrics(self.pair_path(fixed, moving))
        except InputError as error:
            raise InputError(f"{error}; the output folder must stay writable during a run") from error

    def link(self, fixed: int, moving: int, backwards: bool = False) -> Link:
        """A registration as a step from one section's pixels to another's.

        Args:
            fixed: number of the section that stayed.
            moving: number of the section that was warped.
            backwards: from ``moving`` to ``fixed``, by the inverse field.
        """
        stored = ResultFolder(self.pair_path(fixed, moving))
        sides = stored.grid("fixed").matrix, stored.grid("moving").matrix
        return Link(stored.inverse(), *reversed(sides)) if backwards else Link(stored.field(), *sides)
