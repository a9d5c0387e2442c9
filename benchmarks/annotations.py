"""How truly annotations are carried: round trip, area, overlap and seconds, on a slide bent by a known map.

    python -m benchmarks.annotations
    python -m benchmarks.annotations --side 12000 --cells 10000

Prints Markdown. The map is smooth and known in closed form; it is stored as a registration stores it, as a field at the
working resolution and its inverse by ``custom_components.fields.invert``. Distances are full-resolution pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import torch

from custom_components.annotations import (
    Convention,
    Coordinates,
    PointMap,
    densify,
    warp_geojson,
    warp_geojson_file,
)
from custom_components.fields import Grid, displacement_image, index_to_physical, invert
from custom_components.pairs import write_geojson

Points = npt.NDArray[np.float64]
MARGIN = 0.1  # of the slide, left free of annotations, so that none is carried beyond an image
VERTICES = 40  # of a cell


@dataclass(frozen=True)
class KnownSlide:
    """A square pair of images and the map between them, fixed -> moving, (row, col) pixels.

    A turn, a change of size, and two waves in each direction; the longer one bends more, the shorter one more sharply.

    Attributes:
        side: pixels of the full resolution.
        shrink: full-resolution pixels a voxel of the stored field.
        bend: factor on the waves' heights of 120 and 30 pixels.
    """

    side: int = 30000
    shrink: int = 16
    bend: float = 1.0

    @property
    def _linear(self) -> Points:
        angle = np.deg2rad(7)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray(1.03 * turn)

    def to_moving(self, fixed: Points) -> Points:
        """(N, 2) fixed -> moving."""
        centre = (self.side - 1) / 2
        rows, columns = fixed[:, 0], fixed[:, 1]
        waves = self.bend * np.stack(
            [
                120 * np.sin(columns / 1400) * np.cos(rows / 1900) + 30 * np.sin(rows / 450),
                120 * np.cos(columns / 1700) * np.sin(rows / 1300) + 30 * np.sin(columns / 500 + rows / 900),
            ],
            axis=1,
        )
        return np.asarray((fixed - centre) @ self._linear.T + centre + waves)

    def jacobian(self, fixed: Points) -> Points:
        """(N,) determinant of ``to_moving`` by central differences of a hundredth pixel."""
        steps = [(self.to_moving(fixed + shift) - self.to_moving(fixed - shift)) / 0.02 for shift in 0.01 * np.eye(2)]
        return np.asarray(steps[0][:, 0] * steps[1][:, 1] - steps[0][:, 1] * steps[1][:, 0])

    def to_fixed(self, moving: Points) -> Points:
        """(N, 2) moving -> fixed, the exact inverse: iterated until it closes to a millionth of a pixel."""
        back, found = np.linalg.inv(self._linear).T, np.array(moving)
        for _ in range(200):
            missing = moving - self.to_moving(found)
            found = found + missing @ back
            if np.abs(missing).max() < 1e-6:
                return np.asarray(found)
        raise ArithmeticError("the known map can't be inverted: it bends too much")

    @cached_property
    def maps(self) -> tuple[PointMap, PointMap]:
        """(fixed -> moving, moving -> fixed) through the stored fields."""
        size = self.side // self.shrink
        place = (self.shrink - 1) / 2
        working, pixels = index_to_physical([self.shrink] * 2, [place] * 2), Grid.of_pixels((self.side, self.side))
        index = np.stack(np.indices((size, size)), axis=-1).reshape(-1, 2)
        shift = (self.to_moving(index * float(self.shrink) + place) - place) / self.shrink - index
        ddf = torch.from_numpy(shift.T.reshape(1, 2, size, size)).float()
        fields = displacement_image(ddf, working, working), displacement_image(invert(ddf)[0], working, working)
        return (
            PointMap(fields[0], pixels, pixels, source="fixed", target="moving"),
            PointMap(fields[1], pixels, pixels),
        )


def regions(side: int, number: int, seed: int = 0) -> list[Points]:
    """Closed rings, row and column, of rectangles and hand-drawn outlines of 200 to 6000 pixels across."""
    rng = np.random.default_rng(seed)
    found = []
    for turn in range(number):
        reach = min(np.exp(rng.uniform(np.log(100), np.log(3000))), side * (0.5 - MARGIN))
        centre = rng.uniform(side * MARGIN + reach, side * (1 - MARGIN) - reach + 1, 2)
        if turn % 2:
            ring = centre + np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * reach / np.sqrt(2)
        else:
            angles = np.linspace(0, 2 * np.pi, rng.integers(12, 80), endpoint=False)
            radius = reach * (0.7 + 0.3 * np.sin(3 * angles + rng.uniform(0, 6)))
            ring = centre + np.stack([np.sin(angles), np.cos(angles)], axis=1) * radius[:, None]
        found.append(np.concatenate([ring, ring[:1]]))
    return found


def cells(side: int, number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Features as QuPath exports cells: an outline of 40 vertices to hundredths of a pixel, and measurements."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, VERTICES + 1)
    centres = rng.uniform(side * MARGIN, side * (1 - MARGIN), (number, 1, 2))
    radii = rng.uniform(6, 20, (number, 1, 1)) * (1 + 0.2 * np.sin(2 * angles)[None, :, None])
    outlines = (centres + radii * np.stack([np.sin(angles), np.cos(angles)], axis=1)).round(2)
    outlines[:, -1] = outlines[:, 0]
    measurements = {f"Nucleus: feature {k}": 1.25 * k for k in range(10)}
    return [
        {
            "type": "Feature", "id": f"{i:08x}-0000-4000-8000-000000000000",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "cell", "measurements": {"Cell: Area": float(i), **measurements}},
        }
        for i, ring in enumerate(outlines.tolist())
    ]  # fmt: skip


@dataclass(frozen=True)
class Trueness:
    """What one way of carrying outlines leaves.

    Attributes:
        vertices: of all outlines.
        area: relative errors of the areas.
        overlap: intersection over union with the true outlines.
    """

    vertices: int
    area: Points
    overlap: Points


def true_outlines(slide: KnownSlide, rings: Sequence[Points]) -> list[shapely.Polygon]:
    """Where the known map puts moving outlines in the fixed image, a point every 2 pixels."""
    return [shapely.Polygon(slide.to_fixed(dense(ring, 2.0))) for ring in rings]


def trueness(
    slide: KnownSlide, rings: Sequence[Points], exact: Sequence[shapely.Polygon], tolerance: float | None,
    step: float | None = None,
) -> Trueness:  # fmt: skip
    """Carry moving outlines to the fixed image and compare them with where the known map puts them.

    Args:
        slide: see there.
        rings: closed, row and column.
        exact: where they should come to.
        tolerance: of the added points; None adds none.
        step: instead of that, the longest side, in pixels.
    """
    way = slide.maps[1]
    carried = []
    for ring in rings:
        starts, joined = np.array([0, len(ring)]), np.array([tolerance is not None])
        given = ring if step is None else dense(ring, step)
        starts[1] = len(given)
        carried.append(densify(given, starts, joined, way, way.step, tolerance or 1.0).points)
    found = [shapely.Polygon(ring) for ring in carried]
    return Trueness(
        sum(map(len, carried)),
        np.abs(shapely.area(found) / shapely.area(exact) - 1),
        np.asarray(shapely.area(shapely.intersection(found, exact)) / shapely.area(shapely.union(found, exact))),
    )


def dense(ring: Points, step: float) -> Points:
    """The ring with sides of at most ``step``."""
    parts = [
        a + (b - a) * np.linspace(0, 1, max(int(np.ceil(np.linalg.norm(b - a) / step)), 1), endpoint=False)[:, None]
        for a, b in pairwise(ring)
    ]
    return np.concatenate([*parts, ring[-1:]])


def points_table(slide: KnownSlide, number: int) -> str:
    """Errors of points, against the known map and there and back."""
    low, high = slide.side * MARGIN, slide.side * (1 - MARGIN)
    start = np.random.default_rng(1).uniform(low, high, (number, 2))
    to_moving, to_fixed = slide.maps
    errors = {
        "moving -> fixed, against the known map": to_fixed(start) - slide.to_fixed(start),
        "fixed -> moving, against the known map": to_moving(start) - slide.to_moving(start),
        "moving -> fixed -> moving": to_moving(to_fixed(start)) - start,
        "fixed -> moving -> fixed": to_fixed(to_moving(start)) - start,
    }
    lines = ["| points | median, px | 99 %, px | largest, px |", "| --- | --- | --- | --- |"]
    for name, error in errors.items():
        length = np.linalg.norm(error, axis=1)
        lines.append(f"| {name} | {np.median(length):.4f} | {np.quantile(length, 0.99):.4f} | {length.max():.4f} |")
    return "\n".join(lines)


def outlines_table(slide: KnownSlide, number: int) -> str:
    """Area and overlap of outlines, by ways of adding points."""
    rings = regions(slide.side, number)
    exact = true_outlines(slide, rings)
    ways = {
        "points added to within 0.1 px": (0.1, None),
        "points added to within 1 px": (1.0, None),
        "a point every 16 px": (None, 16.0),
        "none added": (None, None),
    }
    lines = [
        "| outlines | vertices | area error, mean | largest | IoU, mean | lowest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (tolerance, step) in ways.items():
        found = trueness(slide, rings, exact, tolerance, step)
        lines.append(
            f"| {name} | {found.vertices} | {found.area.mean():.4%} | {found.area.max():.4%} | "
            f"{found.overlap.mean():.5f} | {found.overlap.min():.5f} |"
        )
    return "\n".join(lines)


def cells_table(slide: KnownSlide, number: int) -> str:
    """Seconds from file to file, as the command line does it, and in memory; the processor's beside the clock's."""
    way, level = slide.maps[1], Coordinates(corner=True)
    with TemporaryDirectory() as folder:
        given, path = Path(folder) / "cells.geojson", Path(folder) / "out.geojson"
        features = cells(slide.side, number)
        write_geojson(given, {"type": "FeatureCollection", "features": features})
        size = given.stat().st_size / 2**20
        start = time.process_time()
        _, found = warp_geojson(features, way, level, level)
        inside = time.process_time() - start
        del features, _
        clock, start = time.perf_counter(), time.process_time()
        warp_geojson_file(given, path, way, Convention())
        whole, elapsed = time.process_time() - start, time.perf_counter() - clock
    return (
        "| cells | vertices | file, MiB | carrying, CPU s | file to file, CPU s | by the clock, s | points added |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        f"| {number} | {number * (VERTICES + 1)} | {size:.0f} | {inside:.1f} | {whole:.1f} | {elapsed:.1f} | "
        f"{found.added} |"
    )


def main(arguments: Sequence[str] | None = None) -> str:
    """The tables that the command line asks for."""
    parser = argparse.ArgumentParser(prog="benchmarks.annotations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=KnownSlide.side, help="pixels of the slide")
    parser.add_argument("--shrink", type=int, default=KnownSlide.shrink, help="pixels a voxel of the field")
    parser.add_argument("--bend", type=float, default=KnownSlide.bend, help="factor on the known map's waves")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--regions", type=int, default=200)
    parser.add_argument("--cells", type=int, default=100_000)
    chosen = parser.parse_args(arguments)
    slide = KnownSlide(chosen.side, chosen.shrink, chosen.bend)
    caption = (
        f"A slide of {slide.side} px, field and inverse stored every {slide.shrink} px; the known map turns by 7 "
        f"degrees, enlarges by 1.03 and bends by waves of {120 * slide.bend:g} and {30 * slide.bend:g} px."
    )
    tables = (
        points_table(slide, chosen.points), outlines_table(slide, chosen.regions), cells_table(slide, chosen.cells)
    )  # fmt: skip
    return "\n\n".join((caption, *tables))


if __name__ == "__main__":
    print(main())
