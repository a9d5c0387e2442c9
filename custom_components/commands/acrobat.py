"""The ACROBAT challenge's way in and out: any bundle's cohort command stands between the two.

    python -m custom_components.commands.acrobat pairs --points points.csv --images DIR --to pairs.csv
    python -m monai.bundle run --config_file bundles/hybrid_matching/configs/inference.yaml --pairs pairs.csv --output_dir out
    python -m custom_components.commands.acrobat submit --points points.csv --results out --to submission.csv
    python -m custom_components.commands.acrobat score --submission submission.csv --truth truth.csv

IHC is moving, H&E fixed. Only the challenge's server knows its truth: ``score`` takes annotations of one's own, and
what it prints is not a result of the challenge.
"""  # noqa: E501

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import fire
import numpy as np
import numpy.typing as npt
import pandas as pd

from custom_components.common import booleans
from custom_components.common.arrays import Points
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.metrics import acrobat_score, annotator_error, fill_missing, pair_error
from custom_components.pairs import (
    AcrobatPair,
    atomic_path,
    read_acrobat_points,
    read_acrobat_submission,
    read_acrobat_truth,
    read_index,
    read_points,
    write_acrobat_submission,
    write_points,
)  # fmt: skip
from custom_components.pairs.acrobat import check_inside, slide_file, slide_header, to_micrometres, to_pixels
from custom_components.pairs.marking import check_set_folder, mark_set
from custom_components.pairs.overwriting import check_output_file
from custom_components.results.record import read_metrics


def pairs(
    points: str,
    images: str,
    to: str,
    landmarks: str | None = None,
    own_pixel_size: bool = True,
    overwrite: bool = False,
) -> str:
    """Write a pair table and a landmark file for each IHC image; everything is checked before anything is written.

    Args:
        points: the challenge's point table, micrometres.
        images: folder of the TIFF files, found by stem: the table names ``.ndpi``.
        to: the pair table.
        landmarks: folder for the landmark files, pixels of the IHC files; default ``landmarks`` beside ``to``.
        own_pixel_size: images that state their micrometres per pixel, such as smaller copies, are taken at their
            word; false takes all for the 10x files of the challenge. Say the same to ``submit``.
        overwrite: replace ``to`` where it is there already.

    Returns:
        What was written.

    Raises:
        InputError: a table or image is wrong or missing, or a point lies outside its image.
    """
    own = booleans.parse_bool(own_pixel_size, "own_pixel_size")
    target, rows, positions, resized = Path(to), [], [], 0
    folder = Path(landmarks) if landmarks else target.parent / "landmarks"
    for pair in read_acrobat_points(points):
        source = f"{pair.source} row {pair.rows[0]}"
        moving, fixed = (slide_file(images, name, source) for name in (pair.moving, pair.fixed))
        (shape, stated), (_, fixed_stated) = slide_header(moving), slide_header(fixed)
        pixels = to_pixels(pair.points, stated if own and stated else pair.moving_mpp)
        check_inside(pair, pixels, shape, moving)
        resized += _differs(stated, pair.moving_mpp) or _differs(fixed_stated, pair.fixed_mpp)
        positions.append((folder / f"{pair.id}.csv", pixels, pair.point_ids))
        check_output_file(positions[-1][0], (points, moving, fixed, to), overwrite=True)
        rows.append({
            "id": pair.id, "moving": moving.resolve(), "fixed": fixed.resolve(),
            "moving_landmarks": positions[-1][0].resolve(), "anon_id": pair.anon_id, "ihc_antibody": pair.antibody,
        })  # fmt: skip
    check_output_file(target, (points,), booleans.parse_bool(overwrite, "overwrite"))
    check_set_folder(folder, [file.name for file, _, _ in positions], "acrobat pairs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made ({error.strerror or error})") from error
    mark_set(folder, "acrobat pairs")
    for file, pixels, names in positions:
        write_points(file, pixels, names)
    with atomic_path(target) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    text = f"wrote {target}: {len(rows)} pairs, {sum(len(names) for _, _, names in positions)} points"
    if resized:
        taken = "their own" if own else "the table's"
        text += f"; {resized} pairs state another pixel size than the table's at 10x: {taken} is taken"
    return text


def submit(points: str, results: str, to: str, own_pixel_size: bool = True, overwrite: bool = False) -> str:
    """Collect the warped landmarks of a run into the challenge's ``point_id, he_x, he_y``, micrometres, H&E frame.

    A pair without a result keeps the position in the IHC image, which is what the scorer takes for a missing point.

    Args:
        points: the challenge's point table.
        results: output folder of the run on the table that ``pairs`` wrote.
        to: the submission.
        own_pixel_size: as for ``pairs``.
        overwrite: replace ``to`` where it is there already.

    Returns:
        What was written, and each unregistered pair with the reason.

    Raises:
        InputError: the table or a result is wrong or made with other points, or no pair has a result.
    """
    own = booleans.parse_bool(own_pixel_size, "own_pixel_size")
    folder, found = Path(results), read_acrobat_points(points)
    check_output_file(to, (points,), booleans.parse_bool(overwrite, "overwrite"))
    carried = {pair.id: _carried(pair, folder / pair.id, own) for pair in found}
    lost = [pair for pair in found if carried[pair.id] is None]
    if len(lost) == len(found):
        raise InputError(f"{folder} holds no warped landmarks of any of the {len(found)} pairs of {points}")
    warped = [pair.points if (place := carried[pair.id]) is None else place for pair in found]
    order = np.argsort(np.concatenate([pair.rows for pair in found]))
    names = np.concatenate([pair.point_ids for pair in found])[order].tolist()
    write_acrobat_submission(to, names, np.concatenate(warped)[order])
    text = f"wrote {to}: {len(names)} points of {len(found)} pairs"
    why = [read_metrics(folder / pair.id, missing_ok=True).get("reason") or "no result" for pair in lost]
    return "\n".join([text, *(f"unregistered: {pair.id}: {reason}" for pair, reason in zip(lost, why, strict=True))])


def score(submission: str, truth: str) -> str:
    """Score a submission against annotations of two annotators; the columns are those of ``read_acrobat_truth``.

    Args:
        submission: ``point_id, he_x, he_y``, micrometres.
        truth: the annotations, micrometres.

    Returns:
        Markdown, micrometres: each pair's 90th percentile and mean, and the aggregates over pairs.

    Raises:
        InputError: a table is wrong, or the two have no point in common.
    """
    submitted, known = read_acrobat_submission(submission), read_acrobat_truth(truth)
    missing = [name for name in known.point_ids if name not in submitted]
    if len(missing) == len(known.point_ids):
        raise InputError(f"{submission} has none of the points of {truth}, such as '{missing[0]}'")
    nowhere = np.full(2, np.nan)
    warped = np.stack([submitted.get(name, nowhere) for name in known.point_ids])
    errors = annotator_error(fill_missing(warped, known.unregistered), known.annotators, known.extent)
    owners = np.array(known.pair_ids)
    each = {name: pair_error(errors[owners == name]) for name in dict.fromkeys(known.pair_ids)}
    foreign = len(submitted) - (len(known.point_ids) - len(missing))
    lines = [
        f"{len(errors)} points of {len(each)} pairs, {len(missing)} missing and counted as unregistered, "
        f"{foreign} submitted ones not in {truth}",
        "", "| pair | points | p90, um | mean, um |", "| --- | --- | --- | --- |",
        *(f"| {name} | {pair.count} | {pair.p90:.2f} | {pair.mean:.2f} |" for name, pair in each.items()),
        "", "| over pairs | um |", "| --- | --- |",
    ]  # fmt: skip
    totals = {name: value for name, value in asdict(acrobat_score(list(each.values()))).items() if name != "pairs"}
    return "\n".join([*lines, *(f"| {name} | {value:.2f} |" for name, value in totals.items())])


def _differs(stated: tuple[float, float] | None, mpp: npt.NDArray[np.float64]) -> bool:
    """Whether an image states another pixel size than the table, by more than a rounding."""
    return stated is not None and not np.allclose(stated, mpp[0], rtol=0.01)


def _carried(pair: AcrobatPair, folder: Path, own: bool) -> Points | None:
    """(N, 2) row, col in the H&E image, micrometres; None where the pair has no result."""
    file = folder / "warped_landmarks.csv"
    if not file.is_file():
        return None
    if tuple(read_index(file)) != pair.point_ids:
        raise InputError(f"{file} has other points than {pair.source}; run on the pair table made of it")
    stated = read_metrics(folder, missing_ok=True).get("fixed_pixel_size")
    return to_micrometres(read_points(file), tuple(stated) if own and stated else pair.fixed_mpp)


def main() -> None:
    """Command line; a wrong file gives one line and exit code 1."""
    try:
        with stopped_by_signals():
            fire.Fire({"pairs": pairs, "submit": submit, "score": score})
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
