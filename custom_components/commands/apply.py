"""Carry anything else over with a stored field.

    warpzoo apply out/x --image other.tif
    warpzoo apply out/x --image other.ome.tif --channel CD8
    warpzoo apply out/x --points cells.csv
    warpzoo apply out/x --points cells.tsv --unit micrometre
    warpzoo apply out/x --points fiducials.mrk.json        of volumes
    warpzoo apply out/x --points points.csv --unit lps     of volumes
    warpzoo apply out/x --geojson annotations.geojson
    warpzoo apply out/x --geojson RoiSet.zip

Everything goes from the moving into the fixed image unless ``--direction fixed_to_moving`` is given. Images are
pulled, so they use the field that starts where they end; points are pushed, so they use the one that starts where
they lie. What is given is the folder of a pair's result, or one of its two fields; the other and metrics.json, which
knows the sizes of the images, are looked for beside it.
"""

from __future__ import annotations

import sys

import fire

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.results.stored import StoredRegistration


def apply(
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
    zarr_version: str | float | None = None,
    channel: str | int | None = None,
    series: str | int | None = None,
    plane: str | int | None = None,
) -> str:
    """Carry one file over and return the path of the result; what is odd about annotations goes to stderr.

    Args:
        field: the folder of a pair's result, or displacement.mha in it (its inverse lies beside it).
        image: an image on the source side, any channels and dtype; must have the size of the registered one.
        points: or a table (CSV, TSV, .gz, .xlsx, .parquet) with columns X, Y in its pixels, or those of QuPath, ImageJ,
            BigWarp, napari, Xenium or Visium; other columns are kept. On volumes X, Y, Z, or 3D Slicer's .fcsv and
            .mrk.json.
        geojson: or annotations in its pixels: GeoJSON as QuPath writes it, plain, .gz or .zip, ImageJ's .roi and .zip,
            the .xml of Aperio ImageScope or ASAP, or GeoParquet; the result has the same form.
        direction: "moving_to_fixed" or "fixed_to_moving".
        output: file to write; default in the result's folder, ``warped_<name>``. With .ome.zarr an image
            becomes an OME-Zarr.
        order: of the interpolation of an image: 0 for labels, 1 linear, 3 cubic (not of slides).
        level: of slides, 0 writes the target's full resolution, each further one half of it.
        compression: of slides, "jpeg", "deflate", "lzw", "zstd", "jpeg2000" (the last four without loss) or "none";
            default the kind that the image has.
        quality: of JPEG.
        threads: that warp a slide; default one a core.
        unit: of points and GeoJSON, in and out: "pixel" of the full resolution or "micrometre"; default what the
            names of the columns say, else pixels. Of points of volumes "lps" or "ras" (millimetres) or "voxel".
        origin: of points and GeoJSON: (0, 0) is the outer "corner" of the first pixel, as in QuPath and so in its
            GeoJSON and centroids, or its "centre", as in columns X, Y.
        overwrite: replace a file that is there already; an input never is.
        zarr_version: of OME-Zarr, 0.4 or 0.5; default the image's own, else 0.4.
        channel: name or number of the channel of the image that is warped alone; default all.
        series: name or number of the image in a file with several; default the registered one of the registered file,
            else the largest.
        plane: of a Z stack or film of the image its number, from 0, or max; default as registered.

    Raises:
        InputError: not exactly one thing to carry, options of images without one, an unknown direction, an image of
            another size, or a file that is wrong or missing, or the result is there already.
    """
    if sum(given is not None for given in (image, points, geojson)) != 1:
        raise InputError("give exactly one of --image, --points, --geojson")
    if image is None and any(said is not None for said in (channel, series, plane)):
        raise InputError("--channel, --series and --plane are of an image, give them with --image")
    result, replaced = StoredRegistration(str(field)), booleans.parse_bool(overwrite, "overwrite")
    if image is not None:
        version = None if zarr_version is None else str(zarr_version)
        warped = result.warp_file(
            image, output, direction, order, level, compression, quality, threads, replaced, version,
            channel, series, plane,
        )  # fmt: skip
        return str(warped)
    if points is not None:
        path, notes = result.points_file(points, output, direction, unit, origin, replaced)
    else:
        path, notes = result.geojson_file(str(geojson), output, direction, unit, origin, replaced)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return str(path)


def main() -> None:
    """Command line; a wrong file gives one line and exit code 1."""
    try:
        with stopped_by_signals("of a slide the blocks that are done are kept, the same command resumes"):
            fire.Fire(apply)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
