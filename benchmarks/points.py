"""How long points take from file to file: read, warp, write, and `warpzoo apply --points` as a whole.

python -m benchmarks.points
python -m benchmarks.points --numbers 100000 1000000 --forms csv parquet
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from benchmarks.annotations import KnownSlide
from custom_components.annotations import Convention, Coordinates, warp_points_file, warp_points_reported
from custom_components.common.errors import InputError
from custom_components.pairs import read_point_table, write_point_table

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seconds:
    """By the clock.

    Attributes:
        read: the table.
        warp: the points in memory.
        write: the table.
        whole: all of it, as the command line does it.
    """

    read: float
    warp: float
    write: float
    whole: float


def cells(side: int, number: int, seed: int = 0) -> pd.DataFrame:
    """A table as a segmentation gives it: a name, two coordinates, a class and two measurements a cell."""
    random = np.random.default_rng(seed)
    places = random.uniform(0, side - 1, (number, 2)).round(3)
    return pd.DataFrame({
        "cell_id": [f"c{i:07d}" for i in range(number)], "X": places[:, 0], "Y": places[:, 1],
        "class": random.choice(["Tumour", "Stroma", "Immune"], number),
        "area": random.uniform(20, 200, number).round(2), "counts": random.integers(0, 500, number),
    })  # fmt: skip


def timed(function: Callable[..., Result], *arguments: Any) -> tuple[float, Result]:
    """(seconds by the clock, what the function gave)."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def measure(slide: KnownSlide, table: pd.DataFrame, form: str, folder: Path) -> Seconds:
    """Seconds of each step for one table in one form, "csv" or "parquet"."""
    given, path, way = folder / f"cells.{form}", folder / f"out.{form}", slide.maps[1]
    table.to_parquet(given) if form == "parquet" else table.to_csv(given, index=False)
    level = Coordinates()
    read, found = timed(read_point_table, given)
    warp, (moved, _) = timed(warp_points_reported, level.to_pixels(found.points()), way)
    write, _ = timed(lambda: write_point_table(path, found.with_points(level.from_pixels(moved))))
    whole, _ = timed(warp_points_file, given, path, way, Convention())
    return Seconds(read, warp, write, whole)


def main(arguments: Sequence[str] | None = None) -> str:
    """The table that the command line asks for."""
    parser = argparse.ArgumentParser(prog="benchmarks.points", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=KnownSlide.side, help="pixels of the slide")
    parser.add_argument("--numbers", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--forms", nargs="+", default=["csv", "parquet"], choices=["csv", "parquet"])
    chosen = parser.parse_args(arguments)
    slide = KnownSlide(chosen.side)
    lines = [
        "| points | form | read, s | warp, s | write, s | file to file, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number in chosen.numbers:
        table = cells(slide.side, number)
        for form in chosen.forms:
            with TemporaryDirectory() as folder:
                try:
                    found = measure(slide, table, form, Path(folder))
                except (ImportError, InputError) as error:
                    lines.append(f"| {number} | {form} | {str(error).splitlines()[0]} | | | |")
                    continue
            lines.append(
                f"| {number} | {form} | {found.read:.1f} | {found.warp:.1f} | {found.write:.1f} | {found.whole:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
