"""Landmark error in the middle of slides of known displacement, before and after their windows are refined.

    python -m benchmarks.slide_refinement --slides slides/10k --results out/10k --to refined

Slides are those of ``benchmarks.whole_slides make``, results those of its ``measure``. Prints Markdown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter

import fire
import numpy as np
import numpy.typing as npt

from custom_components.pairs import read_points
from custom_components.results.folder import ResultFolder

CONFIGS = "['bundles/patch_nonrigid/configs/inference.yaml','bundles/patch_nonrigid/configs/refine.yaml']"


def errors(warped: Path, truth: Path, region: tuple[int, int, int, int]) -> npt.NDArray[np.float64]:
    """(n,) distances of the landmarks whose true place lies in ``region`` (x, y, width, height), pixels."""
    ends = read_points(warped), read_points(truth)
    first = np.array(region[1::-1])
    inside = ((ends[1] >= first) & (ends[1] < first + np.array(region[:1:-1]))).all(axis=1)
    return np.asarray(np.linalg.norm(ends[0] - ends[1], axis=1)[inside])


def refine(slides: str, results: str, to: str, fraction: float = 0.4, **more: object) -> str:
    """Refine a pair of slides in their middle; returns a Markdown table.

    Args:
        slides: folder with moving.ome.tif, fixed.ome.tif, moving.csv and fixed.csv.
        results: output folder of the run that registered them, the pair's folder being ``pair``.
        to: output folder of the refinement.
        fraction: of the slide's sides that is refined.
        more: further keys of ``refine.yaml``, such as ``level``.
    """
    folder = Path(slides)
    side = ResultFolder(Path(results) / "pair").grid("fixed").shape[0]
    start = int(side * (1 - fraction) / 2)
    region = (start, start, int(side * fraction), int(side * fraction))
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", CONFIGS, "--id", "pair", "--resume", "false",
        "--moving", f"{folder}/moving.ome.tif", "--fixed", f"{folder}/fixed.ome.tif", "--moving_landmarks",
        f"{folder}/moving.csv", "--fixed_landmarks", f"{folder}/fixed.csv", "--results", results, "--output_dir", to,
        "--region", str(list(region)), "--report", "false",
    ]  # fmt: skip
    begun = perf_counter()
    subprocess.run(command + [f"--{name}={value}" for name, value in more.items()], check=True, stdout=sys.stderr)
    seconds = perf_counter() - begun
    details = ResultFolder(Path(to) / "pair").metrics["stages"]["slide refinement"]
    rows = [f"| {side} | points | mean, px | median, px | largest, px | windows | seconds |", "| --- " * 7 + "|"]
    for name, run, work in (
        ("before", results, " | "),
        ("after", to, f"{details['refined']} of {details['windows']} | {seconds:.0f}"),
    ):
        found = errors(Path(run) / "pair" / "warped_landmarks.csv", folder / "fixed.csv", region)
        rows.append(
            f"| {name} | {len(found)} | {found.mean():.2f} | {np.median(found):.2f} | {found.max():.2f} | {work} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    fire.Fire(refine)
