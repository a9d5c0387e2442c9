"""All figures of a study, from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import yaml
from matplotlib.figure import Figure

from custom_components.common.arrays import Array
from custom_components.common.errors import InputError
from custom_components.engines.extractors import load_extractor
from custom_components.experiments import figures
from custom_components.outputs.pair_folder import is_good
from custom_components.outputs.pictures import deformation_grid, to_rgb
from custom_components.outputs.sections import in_plane, sections
from custom_components.pairs import Pair, atomic_path, read_image, select_pairs
from custom_components.pairs.marking import check_set_folder, mark_set
from custom_components.results.folder import ResultFolder
from custom_components.results.record import find_metrics
from custom_components.transforms import ReadPaird
from custom_components.transforms.grey import stretch

MAKER = "study figures"
CHANNELS = 5  # of the feature maps of a level that are shown


class StudyFigures:
    """Writes every figure for which the study has the files, as PNG.

    Source of the figures: Czolbe et al., "DeepSim", Medical Image Analysis 2023.

    Args:
        study: folder that ``benchmarks.similarities`` has filled, and ``noise.yaml`` perhaps.
        pairs: its pair table, for the samples.
        to: folder of the figures.
        tuning: folder under which ``tune.yaml`` wrote its tables.
        status: of the rows that the study judged by.
        sample: id of the pair that is shown; None takes the first.
        extractors: name -> weights, whose feature maps of the sample's fixed image are shown.
        classes: label -> name. Both may be a mapping in YAML, as the command line gives what holds a path.
    """

    def __init__(
        self,
        study: str,
        pairs: str,
        to: str,
        tuning: str | None = None,
        status: str = "evaluation",
        sample: str | None = None,
        extractors: Mapping[str, str] | str | None = None,
        classes: Mapping[int, str] | str | None = None,
    ) -> None:
        self.study = Path(study)
        self.pairs = pairs
        self.to = Path(to)
        self.tuning = None if tuning is None else Path(tuning)
        self.status = status
        self.sample = sample
        self.extractors = _mapping(extractors)
        self.classes = {int(key): str(value) for key, value in _mapping(classes).items()}

    def run(self) -> list[str]:
        """Write the figures; the names of their files.

        Raises:
            InputError: the study has no table, there is no such sample, or other pictures lie in the folder.
        """
        table = self.study / "similarities.csv"
        if not table.is_file():
            raise InputError(f"{table} is missing; run benchmarks.similarities with --to {self.study} first")
        check_set_folder(self.to, [file.name for file in self.to.glob("*.png")], MAKER)
        mark_set(self.to, MAKER)
        written = []
        for name, figure in self._figures(pd.read_csv(table, dtype={"pair": str})):
            with atomic_path(self.to / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=120)
            written.append(f"{name}.png")
        print(f"{self.to}: {', '.join(written)}")
        return written

    def _figures(self, rows: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
        yield "scores", figures.score_boxes(rows, self.classes)
        yield "smoothness_against_dice", figures.smoothness_against_dice(rows)
        levels = rows[rows["method"].str.contains("@")]
        if len(levels):
            whole = {method.split("@")[0] for method in levels["method"]}
            yield (
                "levels",
                figures.score_boxes(pd.concat([rows[rows["method"].isin(whole)], levels])[["method", "dice"]]),
            )
        curves = self._curves(rows)
        if curves:
            yield "convergence", figures.convergence(curves)
        tuned = [] if self.tuning is None else sorted(self.tuning.rglob("tune.csv"))
        if tuned:
            yield "smoothness", figures.smoothness_curves(pd.concat([pd.read_csv(file) for file in tuned]))
        if (self.study / "noise.csv").is_file():
            yield "noise", figures.disturbance_curves(pd.read_csv(self.study / "noise.csv"), rows)
        pair = self._pair()
        yield "samples", self._samples(rows, pair)
        for name, file in self.extractors.items():
            yield f"features_{name}", self._features(file, pair)

    def _curves(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        found = {}
        for method in dict.fromkeys(rows["method"]):
            files = sorted(self.study.glob(f"{method}_*/models/registration/curve.csv"))
            if files:
                found[str(method)] = pd.concat([pd.read_csv(file) for file in files])
        return found

    def _pair(self) -> Pair:
        chosen = select_pairs(self.pairs, status=self.status)
        known = {pair.id: pair for pair in chosen}
        if self.sample is not None and self.sample not in known:
            raise InputError(f"{self.pairs} has no pair '{self.sample}' of status {self.status}")
        return known[self.sample] if self.sample is not None else chosen[0]

    def _samples(self, rows: pd.DataFrame, pair: Pair) -> Figure:
        """A column of fixed and moving image, then one for each method's first seed: warped image, grid, difference."""
        images = ReadPaird(volumes=True)({"pair": pair})
        grids = images["fixed"].meta["read_grid"], images["moving"].meta["read_grid"]
        fixed, moving = (_slice(np.asarray(images[side])) for side in ("fixed", "moving"))
        columns: list[list[Array]] = [[fixed, moving, np.abs(stretch(fixed) - stretch(moving))]]
        titles = [["fixed", "moving", "difference"]]
        scores = rows[rows["pair"] == pair.id].groupby("method")["dice"].mean()
        for method in dict.fromkeys(rows["method"]):
            folders = sorted(self.study.glob(f"{method}_*/{self.status}/{pair.id}"))
            if not folders or not is_good(find_metrics(folders[0]) or {}):
                continue
            warped = _slice(np.asarray(read_image(next(iter(folders[0].glob("warped.*"))))))
            field = ResultFolder(folders[0]).field(*grids)[0].double().numpy()
            grid = deformation_grid(to_rgb(fixed[None]), field if len(field) == 2 else in_plane(field)[0])
            columns.append([warped, grid, np.abs(stretch(fixed) - stretch(warped))])
            titles.append([f"{method} {scores.get(method, float('nan')):.3f}", "", ""])
        return figures.picture_rows(*([list(row) for row in zip(*part, strict=True)] for part in (columns, titles)))

    def _features(self, file: str, pair: Pair) -> Figure:
        extractor = load_extractor(file)
        assert extractor is not None
        image = torch.from_numpy(stretch(np.asarray(read_image(pair.fixed))[:1].astype(np.float32)))[None]
        with torch.no_grad():
            maps = extractor(image)
        lines, titles = [], []
        for level, features in enumerate(maps):
            strongest = features[0].flatten(1).std(1).argsort(descending=True)[:CHANNELS]
            lines.append([_slice(features[0, channel : channel + 1].numpy()) for channel in strongest.tolist()])
            titles.append([f"level {level}, channel {channel}" for channel in strongest.tolist()])
        return figures.picture_rows(lines, titles)


def _mapping(given: Mapping[Any, str] | str | None) -> dict[Any, str]:
    return dict((yaml.safe_load(given) if isinstance(given, str) else given) or {})


def _slice(image: Array) -> npt.NDArray[np.float32]:
    """(C, *spatial) -> (H, W), the first channel, of a volume its first section."""
    return np.asarray(image[0] if image.ndim == 3 else sections(image[:1])[0][0], dtype=np.float32)
