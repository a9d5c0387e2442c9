"""Whole slides of known displacement: made, registered, warped at full resolution, beside other engines.

    python -m benchmarks.whole_slides make --side 30000 --to slides/30k
    python -m benchmarks.whole_slides measure --slides "slides/10k slides/20k slides/30k" --to out

A slide has real tissue twice: enlarged to its whole size, which is what a registration sees, and tiled, which is what
a pathologist sees at full resolution. The moving slide is the fixed one bent by a smooth random field.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fire
import numpy as np
import numpy.typing as npt
import torch
from skimage import data as skimage_data

from benchmarks.rivals import PACKAGES, missing_rival, rival_command
from benchmarks.slide_engines import ENGINES
from custom_components.fields import (
    displacement_image,
    grid_change,
    index_to_physical,
    smooth,
    transform_points,
)  # fmt: skip
from custom_components.fields.blocks import FieldBlocks
from custom_components.pairs import open_slide, read_points, write_points
from custom_components.results.folder import ResultFolder
from custom_components.slides.pyramid import PyramidWriter
from custom_components.slides.slide_warp import SlideWarp, warp_blocks

Array = npt.NDArray[Any]
PIXEL_SIZE = (0.25, 0.25)
FIELD_SIDE = 256  # voxels of the known field
PEAK_OF = Path(__file__).with_name("peak_of.py")
COLUMNS = ("side, px", "step", "seconds", "processor s", "MPix/s", "MPix/processor s", "peak GB", "error, px",
           "difference")  # fmt: skip
COMPARED = 2048  # pixels a side, at most, of which engines' pictures are compared


class TissueSlide:
    """A slide of ``side`` pixels that is computed where it is read; see ``custom_components.pairs.Slide``."""

    channels = 3
    dtype = np.dtype(np.uint8)
    pixel_size = PIXEL_SIZE

    def __init__(self, side: int) -> None:
        self.path = Path(f"tissue of {side} pixels")
        self.levels = [(side, side)]
        self.tissue = skimage_data.immunohistochemistry()
        self.scale = side / len(self.tissue)
        mirrored = np.concatenate([self.tissue, self.tissue[::-1]], axis=0)
        # means of the fine texture, so that it changes contrast but not colour
        self.texture = np.concatenate([mirrored, mirrored[:, ::-1]], axis=1).astype(np.float32)
        self.texture -= self.texture.mean(axis=(0, 1))

    def read(self, level: int, row: int, column: int, height: int, width: int) -> Array:
        """See ``Slide``."""
        rows, columns = np.arange(row, row + height), np.arange(column, column + width)
        places = [((axis + 0.5) / self.scale - 0.5).astype(np.float32) for axis in (columns, rows)]
        whole = cv2.remap(self.tissue, *np.meshgrid(*places), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        fine = self.texture[np.ix_(rows % len(self.texture), columns % len(self.texture))]
        return (whole + 0.4 * fine).clip(0, 255).astype(np.uint8)


def known_field(side: int, amplitude: float, seed: int) -> Any:
    """Displacement image on ``FIELD_SIDE`` voxels a side, micrometres: smooth, turned by 3 degrees, shifted by 2 %."""
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.standard_normal((1, 2, FIELD_SIDE, FIELD_SIDE))).float()
    bend = smooth(noise, FIELD_SIDE / 16)
    bend *= amplitude * FIELD_SIDE / bend.abs().max()
    centred = np.stack(np.meshgrid(*[np.arange(FIELD_SIDE) - (FIELD_SIDE - 1) / 2] * 2, indexing="ij"))
    angle = np.deg2rad(3.0)
    turn = np.array([[np.cos(angle) - 1, -np.sin(angle)], [np.sin(angle), np.cos(angle) - 1]])
    linear = np.einsum("ij,jhw->ihw", turn, centred) + 0.02 * FIELD_SIDE
    matrix = index_to_physical(PIXEL_SIZE[::-1]) @ grid_change((FIELD_SIDE, FIELD_SIDE), (side, side))
    return displacement_image(bend + torch.from_numpy(linear)[None].float(), matrix, matrix)


def make(side: int, to: str, amplitude: float = 0.01, seed: int = 0, points: int = 200) -> str:
    """Write fixed.ome.tif, moving.ome.tif and landmarks of both.

    Args:
        side: pixels.
        to: folder.
        amplitude: largest bend, share of the side.
        seed: of the field.
        points: landmarks.
    """
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    matrix = index_to_physical(PIXEL_SIZE[::-1])
    slide = TissueSlide(side)
    field = known_field(side, amplitude, seed)  # moving -> fixed, on the moving grid
    still = displacement_image(torch.zeros(1, 2, 2, 2), *[matrix @ grid_change((2, 2), (side, side))] * 2)
    for name, displacement in (("fixed", still), ("moving", field)):
        writer = PyramidWriter(
            folder / f"{name}.ome.tif",
            (side, side),
            3,
            np.uint8,
            "jpeg",
            pixel_size=PIXEL_SIZE,
            recipe=[seed, amplitude],
        )
        warp = SlideWarp(slide, 0, FieldBlocks(displacement, matrix, matrix), 1, (240.0,) * 3)
        for _ in warp_blocks(warp, writer, os.cpu_count() or 1):
            pass
        writer.finish()
    moving = np.random.default_rng(seed + 1).uniform(0.15 * side, 0.85 * side, (points, 2))
    fixed = transform_points(field, moving[:, ::-1] * PIXEL_SIZE)[:, ::-1] / PIXEL_SIZE
    write_points(folder / "moving.csv", moving)
    write_points(folder / "fixed.csv", fixed)
    return f"{folder}: {side} x {side} pixels"


def measured(command: list[str], log: Path, threads: int = 1) -> tuple[float, float, float]:
    """(seconds, processor seconds, peak bytes) of a program that must succeed; what it prints goes to ``log``."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VIPS_CONCURRENCY")
    environment = os.environ | dict.fromkeys(names, str(threads))
    small = [sys.executable, "-I", "-S", str(PEAK_OF), *command]
    with log.open("w") as stream:
        answer = subprocess.run(small, env=environment, stdout=subprocess.PIPE, stderr=stream, check=False)
    if answer.returncode:
        sys.exit(f"error: {' '.join(command)} failed; {log} says why")
    seconds, processor, peak = json.loads(answer.stdout)
    return seconds, processor, peak


def difference(first: Path, second: Path) -> float:
    """Mean absolute difference of two slides of one size, grey values, in the middle half of level 0.

    There no background is, of which engines have their own.
    """
    parts = []
    for path in (first, second):
        with open_slide(path) as slide:
            size = [min(side // 2, COMPARED) for side in slide.levels[0]]
            start = [(side - some) // 2 for side, some in zip(slide.levels[0], size, strict=True)]
            parts.append(slide.read(0, start[0], start[1], size[0], size[1]).astype(np.int16))
    return float(np.abs(parts[0] - parts[1]).mean())


def commands(
    folder: Path, out: Path, threads: int, engines: list[str], rivals_python: str | None, config: str
) -> Iterator[tuple[str, list[str]]]:
    """Name and program of each step; to be run one by one, as later ones read what earlier ones wrote."""
    moving, result = f"{folder}/moving.ome.tif", ResultFolder(out / "pair")
    module = [sys.executable, "-m"]
    yield "register", [
        *module, "monai.bundle", "run", "--config_file", config, "--output_dir", str(out), "--id", "pair",
        "--moving", moving, "--fixed", f"{folder}/fixed.ome.tif",
        "--moving_landmarks", f"{folder}/moving.csv", "--fixed_landmarks", f"{folder}/fixed.csv",
    ]  # fmt: skip
    for name in ["warp", *engines]:
        output = str(out / f"{name}.ome.tif")
        if name == "warp":
            arguments = ["--image", moving, "--output", output, "--threads", str(threads)]
            yield name, [*module, "custom_components.commands.apply", "--field", str(result.folder), *arguments]
        elif name in PACKAGES:
            yield name, rival_command(name, str(rivals_python), str(result.field_file), moving, output)
        else:
            yield name, [*module, "benchmarks.slide_engines", name, str(result.field_file), moving, output]


def measure(
    slides: str,
    to: str,
    threads: int = 1,
    engines: str = "copy",
    rivals_python: str | None = None,
    config: str = "bundles/hybrid_matching/configs/inference.yaml",
) -> str:
    """Register, warp and copy each pair that ``make`` wrote; returns a Markdown table.

    Args:
        slides: folders, separated by spaces.
        to: folder of the results.
        threads: that warp.
        engines: of benchmarks.slide_engines and benchmarks.rival_engines, to compare with.
        rivals_python: Python program that has the packages of the latter; one that it lacks is left out.
        config: of the bundle that registers.
    """
    wanted = engines.split()
    for engine in engines.split():
        if engine not in ENGINES and engine not in PACKAGES:
            sys.exit(f"error: --engines are of {', '.join([*ENGINES, *PACKAGES])}, got '{engine}'")
        if engine in PACKAGES and (reason := missing_rival(engine, rivals_python)):
            print(f"note: {reason}", file=sys.stderr)
            wanted.remove(engine)
    rows = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    for folder in map(Path, slides.split()):
        out = Path(to) / folder.name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        for name, command in commands(folder, out, threads, wanted, rivals_python, config):
            seconds, processor, peak = measured(command, out / f"{name}.log", threads)
            side = ResultFolder(out / "pair").grid("fixed").shape[0]
            speeds, error, apart = [f"{side**2 / spent / 1e6:.1f}" for spent in (seconds, processor)], "", ""
            if name == "register":
                ends = [read_points(p) for p in (out / "pair" / "warped_landmarks.csv", folder / "fixed.csv")]
                error, speeds = f"{np.linalg.norm(ends[0] - ends[1], axis=1).mean():.2f}", ["", ""]
            elif name != "warp":
                apart = f"{difference(out / 'warp.ome.tif', out / f'{name}.ome.tif'):.2f}"
            cells = [f"{seconds:.1f}", f"{processor:.1f}", *speeds, f"{peak / 1e9:.2f}"]
            row = f"| {' | '.join([str(side), name, *cells, error, apart])} |"
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return "\n".join(rows)


if __name__ == "__main__":
    fire.Fire({"make": make, "measure": measure})
