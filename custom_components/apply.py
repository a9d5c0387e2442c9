"""Carry anything else over with a stored field.

    python -m custom_components.apply --field out/x/displacement.mha --image other.tif
    python -m custom_components.apply --field out/x/displacement.mha --points cells.csv
    python -m custom_components.apply --field out/x/displacement.mha --points cells.tsv --unit micrometre
    python -m custom_components.apply --field out/x/displacement.mha --geojson annotations.geojson

Everything goes from the moving into the fixed image unless ``--direction fixed_to_moving`` is given. Images are
pulled, so they use the field that starts where they end; points are pushed, so they use the one that starts where
they lie. The inverse field and metrics.json, which knows the sizes of the images, are looked for beside the one given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fire

from custom_components import switches
from custom_components.annotations import Convention, PointMap, carry_geojson_file, carry_points_file
from custom_components.errors import InputError
from custom_components.fields import Grid, read_displacement, resample
from custom_components.pairs import is_large, read_image, write_image
from custom_components.pairs.overwriting import check_output_file
from custom_components.slides.carry_slide import carried_slide, carry_slide, stem_of
from custom_components.slides.native import background_of, native_array, output_suffix
from custom_components.stopping import stopped_by_signals

DIRECTIONS = ("moving_to_fixed", "fixed_to_moving")


def field_files(field: str | Path) -> tuple[Path, Path]:
    """(fixed -> moving, moving -> fixed) files of a result, from either of them."""
    path = Path(field)
    plain = path.with_name(path.name.removeprefix("inverse_"))
    return plain, plain.with_name(f"inverse_{plain.name}")


def grid_of(info: Path, side: str) -> Grid:
    """Grid of the full-resolution ``side`` image, from a result's metrics.json.

    Raises:
        InputError: there is no such file, or it says nothing of the grid.
    """
    if not info.is_file():
        raise InputError(f"{info} does not exist; keep it beside the displacement field, it holds the images' sizes")
    try:
        metrics = json.loads(info.read_text())
        return Grid.from_json(metrics[f"{side}_grid"], metrics["unit"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{info} holds no size of the {side} image; register the pair again") from error


def size_of(spatial: tuple[int, ...]) -> str:
    """Sides of an array as users say them: width x height."""
    return " x ".join(str(side) for side in reversed(spatial))


def carry(
    field: str,
    image: str | None = None,
    points: str | None = None,
    geojson: str | None = None,
    direction: str = "moving_to_fixed",
    output: str | None = None,
    order: int = 1,
    level: int = 0,
    compression: str | None = None,
    quality: int = 90,
    threads: int | None = None,
    unit: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
) -> str:
    """Carry one file over and return the path of the result; what is odd about annotations goes to stderr.

    Args:
        field: displacement.mha of a result (its inverse lies beside it).
        image: an image on the source side, any channels and dtype; must have the size of the registered one.
        points: or a CSV or TSV with columns X, Y in its pixels, or QuPath's centroids; other columns are kept.
        geojson: or GeoJSON in its pixels, as QuPath writes it, plain, .gz or .zip.
        direction: "moving_to_fixed" or "fixed_to_moving".
        output: file to write; default beside the field, ``warped_<name>``.
        order: of the interpolation of an image: 0 for labels, 1 linear, 3 cubic (not of slides).
        level: of slides, 0 writes the target's full resolution, each further one half of it.
        compression: of slides, "jpeg", "deflate" or "none"; default JPEG for colour, deflate for all else.
        quality: of JPEG.
        threads: that warp a slide; default one a core.
        unit: of points and GeoJSON, in and out: "pixel" of the full resolution or "micrometre"; default what the
            names of the columns say, else pixels.
        origin: of points and GeoJSON: (0, 0) is the outer "corner" of the first pixel, as in QuPath and so in its
            GeoJSON and centroids, or its "centre", as in columns X, Y.
        overwrite: replace a file that is there already; an input never is.

    Raises:
        InputError: not exactly one thing to carry, an unknown direction, an image of another size, or a file that
            is wrong or missing, or the result is there already.
    """
    if sum(given is not None for given in (image, points, geojson)) != 1:
        raise InputError("give exactly one of --image, --points, --geojson")
    if direction not in DIRECTIONS:
        raise InputError(f"--direction is {' or '.join(DIRECTIONS)}, got '{direction}'")
    plain, inverse = field_files(field)
    source, target = ("moving", "fixed") if direction == DIRECTIONS[0] else ("fixed", "moving")
    pull, push = (plain, inverse) if source == "moving" else (inverse, plain)
    needed, info = pull if image is not None else push, plain.with_name("metrics.json")
    if not needed.is_file():  # before its neighbour is missed: mostly the folder is mistyped
        raise InputError(f"displacement field {needed} does not exist")
    start, end = grid_of(info, source), grid_of(info, target)
    given = Path(image or points or geojson or "")
    read, replaced = (given, plain, inverse, info), switches.on(overwrite, "overwrite")
    if image is not None:
        suffix = output_suffix(given, None)
        if is_large(given) or level > 0:
            path = Path(output) if output else carried_slide(plain.parent, given)
            check_output_file(path, read, replaced)
            size = json.loads(info.read_text()).get(f"{target}_pixel_size")
            carry_slide(
                given, path, read_displacement(pull), start, end,
                size and tuple(size), order, level, compression, quality, threads,
            )  # fmt: skip
            return str(path)
        path = Path(output) if output else plain.with_name(f"warped_{stem_of(given)}{suffix}")
        check_output_file(path, read, replaced)
        loaded = read_image(given)
        array, own = native_array(loaded), loaded.meta["file_grid"]
        if own.known and start.known and own.overlap(start) > 0:
            start = own  # an image of its own geometry, such as another sequence of the same subject
        elif own.shape != start.shape:
            raise InputError(
                f"image {given} is {size_of(own.shape)} pixels, but the registered {source} image has "
                f"{size_of(start.shape)}; give an image on the same pixels"
            )
        fill: float | list[float] = 0.0 if order == 0 else background_of(array)
        warped = resample(array, start.matrix, read_displacement(pull), end.shape, end.matrix, order, fill)
        size = json.loads(info.read_text()).get(f"{target}_pixel_size")
        write_image(path, warped, end.matrix, size)
        return str(path)
    path = Path(output) if output else plain.with_name(f"warped_{given.name}")
    check_output_file(path, read, replaced)
    way = PointMap(read_displacement(push), start, end, source, target)
    stated = json.loads(info.read_text())
    convention = Convention(unit, origin, stated.get(f"{source}_pixel_size"), stated.get(f"{target}_pixel_size"))
    carry_file = carry_points_file if points is not None else carry_geojson_file
    for note in carry_file(given, path, way, convention):
        print(f"note: {note}", file=sys.stderr)
    return str(path)


def main() -> None:
    """Command line; a wrong file gives one line and exit code 1."""
    try:
        with stopped_by_signals("of a slide the blocks that are done are kept, the same command resumes"):
            fire.Fire(carry)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
