"""What do defects cost a registration? Networks of joint_saliency and classical methods, near a defect and far from it.

    python -m benchmarks.defects --sets "clean=data/known_clean/pairs.csv spoiled=data/known_spoiled/pairs.csv" \
        --train data/digits/pairs.csv --to out/digits --seeds 3 --near 8 --options "max_epochs=20 batch_size=16" \
        --methods "coarse local forward backward voxelmorph demons syn dis"

A set is a pair table whose landmarks are exact, with a mask of the defect in a column ``defect`` where there is one
(255 on it, in the fixed frame, relative to the table), or a table with label maps, for which Dice is reported.

A method is a trained variant of the bundle, or ``demons``, ``syn`` or ``dis``; with overrides it needs a name of its
own: ``overlap=backward;weighting=overlap``. No registration, ``none``, is always in the table. Options go to
the bundle's train.yaml and, as far as it has them, to evaluate.yaml. Trainings and registrations that are done are
passed over, so the command may be stopped and repeated, and ``syn`` run in an environment of its own. Writes
defects.md and .csv.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from benchmarks.defects_table import markdown
from custom_components.common.errors import InputError
from custom_components.experiments import (
    evaluate,
    known_to_evaluate,
    parse_options,
    read_keys,
    registered,
    train,
    unregistered,
    write_tables,
)
from custom_components.pairs import (
    Pair,
    check_pair,
    match_landmarks,
    read_image,
    read_landmarks,
    select_pairs,
)
from custom_components.results.record import read_metrics
from custom_components.results.stored import StoredRegistration

CONFIGS = Path("bundles/joint_saliency/configs")  # of train.yaml and evaluate.yaml
# the trained ones, by what they override in train.yaml and evaluate.yaml
VARIANTS: dict[str, dict[str, Any]] = {name: {"stages": name} for name in ("coarse", "local", "forward", "backward")}
NETWORKS: dict[str, dict[str, Any]] = {**VARIANTS, "voxelmorph": {"stages": "voxelmorph"}}
# the classical ones, by the config that is read after evaluate.yaml
OVERLAYS = {
    "demons": Path("bundles/joint_saliency/configs/demons.yaml"),
    "dis": Path("bundles/joint_saliency/configs/dis.yaml"),
    "syn": Path("bundles/semantic_similarity/configs/syn.yaml"),
}
NONE = "none"
ORDER = ["method", "seed", "set", "pair", "kind", "tre", "near", "far", "dice", "folding", "deviation", "seconds"]

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """What is compared.

    Attributes:
        name: in the table.
        base: one of ``NETWORKS`` or ``OVERLAYS``.
        overrides: of train.yaml and evaluate.yaml.
    """

    name: str
    base: str
    overrides: Mapping[str, Any]

    @property
    def trained(self) -> bool:
        """Whether there is a network."""
        return self.base in NETWORKS


@dataclass(frozen=True)
class PairSet:
    """Pairs of one table that are judged together, all by landmarks or all by label maps."""

    name: str
    table: Path
    pairs: Sequence[Pair]
    labelled: bool


# what was asked for


def parse_method(text: str) -> Method:
    """A method as the command line gives it, see the module.

    Raises:
        InputError: not of this form, or no such method.
    """
    first, *words = text.split(";")
    name, _, base = first.rpartition("=")
    known = (*NETWORKS, *OVERLAYS)
    if base not in known:
        raise InputError(f"method '{text}': '{base}' is none of {', '.join(known)}")
    if words and not name:
        raise InputError(f"method '{text}' has overrides, so it needs a name of its own: NAME={text}")
    if name and (not re.fullmatch(r"\w[\w.+-]*", name) or name in (*known, NONE)):
        raise InputError(f"method '{text}': '{name}' can't be its name; take letters and digits, and no method's name")
    return Method(name or base, base, {**NETWORKS.get(base, {}), **parse_options(" ".join(words))})


def methods_of(text: str) -> list[Method]:
    """Methods divided by spaces.

    Raises:
        InputError: as ``parse_method``, or two of one name.
    """
    methods = [parse_method(word) for word in text.split()]
    names = [method.name for method in methods]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two methods have the name '{twice[0]}'")
    return methods


def set_of(name: str, table: str | Path, status: str | None) -> PairSet:
    """A set of pairs, its files checked.

    Raises:
        InputError: the table or a file is wrong, or a pair has neither landmarks nor label maps.
    """
    pairs = select_pairs(table, status=status)
    labelled = pairs[0].fixed_landmarks is None
    wanted = [f"{side}_{'labels' if labelled else 'landmarks'}" for side in ("moving", "fixed")]
    for pair in pairs:
        check_pair(pair)
        missing = [column for column in wanted if getattr(pair, column) is None]
        if missing:
            raise InputError(
                f"{table}: pair {pair.id} has no {missing[0]}; all pairs of a set need {', '.join(wanted)}"
            )
    return PairSet(name, Path(table), pairs, labelled)


def reference_of(methods: Sequence[Method], name: str | None) -> str | None:
    """The method that the others are tested against: the one named, else the last variant of the bundle, else none.

    Raises:
        InputError: there is no method of that name.
    """
    if name is None:
        variants = [method.name for method in methods if method.base in VARIANTS]
        return variants[-1] if variants else None
    if name not in [method.name for method in methods]:
        raise InputError(f"reference '{name}' is none of the methods {', '.join(method.name for method in methods)}")
    return name


def check_options(methods: Sequence[Method], options: Mapping[str, Any]) -> None:
    """Raise ``InputError`` for a key that no config of a method has; options need only be some method's."""
    shared = [CONFIGS / "evaluate.yaml", CONFIGS / "train.yaml"]
    asked = [(options, shared)]
    asked += [
        (method.overrides, shared if method.trained else [shared[0], OVERLAYS[method.base]]) for method in methods
    ]
    for given, files in asked:
        unknown = set(given).difference(*map(read_keys, files))
        if unknown:
            raise InputError(f"neither {' nor '.join(map(str, files))} has the key '{sorted(unknown)[0]}'")


# one pair


def distance_to_defect(pair: Pair, table: Path, points: Points) -> Points | None:
    """(N,) pixels from fixed points (N, 2) to the pair's defect, 0 inside; None where the pair has no defect.

    Raises:
        InputError: the mask can't be read, or has another size than the fixed image.
    """
    name = pair.extra.get("defect")
    if not name:
        return None
    mask, fixed = (read_image(file).numpy() for file in (table.parent / name, pair.fixed))
    if mask.shape[1:] != fixed.shape[1:]:
        raise InputError(
            f"defect {table.parent / name} is {mask.shape[1:]}, fixed image {pair.fixed} {fixed.shape[1:]}"
        )
    spoiled = (mask > 0).any(axis=0)
    if not spoiled.any():
        return None
    found: Points = map_coordinates(distance_transform_edt(~spoiled), points.T, order=1, mode="nearest")
    return found


def landmark_errors(pair: Pair, table: Path, near: float, folder: Path | None = None) -> dict[str, float]:
    """Mean distances in moving pixels of the carried fixed landmarks to the moving ones.

    Args:
        pair: with exact landmarks.
        table: its pair table.
        near: landmarks within so many pixels of the defect, or in it, are near, the others far.
        folder: of the registered pair; None leaves the landmarks where they are.

    Returns:
        "tre" of all landmarks; "near" and "far", NaN where there is no such landmark or no defect.

    Raises:
        InputError: a file is wrong.
    """
    assert pair.moving_landmarks is not None  # see set_of
    assert pair.fixed_landmarks is not None
    marks = read_landmarks(pair.moving_landmarks), read_landmarks(pair.fixed_landmarks, "fixed")
    match = match_landmarks(*marks)
    moving, fixed = marks[0].points[match.moving], marks[1].points[match.fixed]
    carried = fixed
    if folder is not None:
        carried = StoredRegistration(folder).points(fixed, "fixed_to_moving")
    errors = np.linalg.norm(carried - moving, axis=1)
    found = {"tre": float(errors.mean()), "near": float("nan"), "far": float("nan")}
    distance = distance_to_defect(pair, table, fixed)
    if distance is not None:
        close = distance <= near
        for name, part in (("near", errors[close]), ("far", errors[~close])):
            found[name] = float(part.mean()) if len(part) else float("nan")
    return found


# one set


def table_rows(chosen: PairSet, near: float, folder: Path | None = None) -> pd.DataFrame:
    """A row a pair, of the registrations in ``folder`` or of none.

    Raises:
        InputError: a pair failed, or a file is wrong.
    """
    if chosen.labelled:
        table = unregistered(chosen.pairs) if folder is None else registered(folder, chosen.pairs)
    else:
        rows = []
        for pair in chosen.pairs:
            row: dict[str, Any] = {"pair": pair.id, "folding": 0.0, "deviation": 0.0, "seconds": 0.0}
            if folder is not None:
                metrics = read_metrics(folder / pair.id)
                if metrics["status"] == "failed":
                    raise InputError(f"{folder / pair.id}: {metrics['reason']}")
                row |= {
                    "folding": metrics["folding_share"], "deviation": metrics["log_jacobian_deviation"],
                    "seconds": metrics["seconds"]["total"],
                }  # fmt: skip
            found = None if folder is None else folder / pair.id
            rows.append(row | landmark_errors(pair, chosen.table, near, found))
        table = pd.DataFrame(rows)
    return table.assign(set=chosen.name, kind=[pair.extra.get("kind", "") for pair in chosen.pairs])


def run_method(
    method: Method, seed: int, sets: Sequence[PairSet], to: Path, training: str | None, status: str | None,
    options: Mapping[str, Any], near: float,
) -> pd.DataFrame:  # fmt: skip
    """One method with one seed on all sets, from its training on; a row a set and pair."""
    root = to / f"{method.name}_{seed}"
    if method.trained:
        given = {**options, **method.overrides}
        model = train(root, seed, str(training), given, CONFIGS)
        known = {**known_to_evaluate(given, CONFIGS), "weights": str(model)}
    else:
        known = {**known_to_evaluate(options, CONFIGS), **method.overrides}
    parts = []
    for chosen in sets:
        out = root / chosen.name
        evaluate(str(chosen.table), status, out, known, chosen.pairs, OVERLAYS.get(method.base), CONFIGS)
        parts.append(table_rows(chosen, near, out))
    return pd.concat(parts).assign(method=method.name, seed=seed)


def defects(
    sets: str, to: str, methods: str, train: str | None = None, seeds: int = 1, options: str = "", near: float = 8.0,
    status: str | None = "evaluation", reference: str | None = None,
) -> str:  # fmt: skip
    """The table of all methods and sets; see the module.

    Args:
        sets: ``NAME=pairs.csv`` divided by spaces.
        to: folder of the trainings, registrations and tables.
        methods: divided by spaces.
        train: pair table of the trainings, its rows of status "training".
        seeds: 0 to seeds - 1 of each training.
        options: of train.yaml and evaluate.yaml, divided by spaces.
        near: pixels from the defect up to which a landmark is near; one inside it is near as well.
        status: of the rows of the sets; None takes all.
        reference: method that the others are tested against; the last variant of the bundle by default.

    Returns:
        Markdown.

    Raises:
        InputError: a method, option, table or file is wrong, or a pair failed.
    """
    chosen, given, folder = methods_of(methods), parse_options(options), Path(to)
    against = reference_of(chosen, reference)
    check_options(chosen, given)
    if train is None and any(method.trained for method in chosen):
        raise InputError("give --train TABLE.csv, whose rows of status training the networks learn from")
    judged = [set_of(name, str(table), status) for name, table in parse_options(sets).items()]
    if not judged:
        raise InputError("sets names the pair tables to judge by, such as spoiled=data/pairs.csv")
    tables = [table_rows(part, near).assign(method=NONE, seed=0) for part in judged]
    for method in chosen:
        for seed in range(seeds if method.trained else 1):
            tables.append(run_method(method, seed, judged, folder, train, status, given, near))
    rows = pd.concat(tables, ignore_index=True)
    rows = rows.reindex(columns=[*ORDER, *sorted(set(rows) - set(ORDER))])
    text = markdown(rows, against, near)
    write_tables(folder, "defects", rows, text)
    return text


if __name__ == "__main__":
    try:
        fire.Fire(defects)
    except InputError as error:
        sys.exit(f"error: {error}")
