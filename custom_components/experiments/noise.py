"""How the methods of a study bear noise and blur in the test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from custom_components.common.errors import InputError
from custom_components.experiments.methods import parse_options
from custom_components.experiments.runs import known_to_evaluate, register
from custom_components.pairs import atomic_path, select_pairs

KINDS = ("noise", "blur")


def noise_study(
    study: str, pairs: str, options: str = "", noise: Sequence[float] = (), blur: Sequence[float] = (),
    status: str = "evaluation", methods: Sequence[str] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Registers disturbed test images with every network of a study; what is done is passed over.

    Args:
        study: folder that ``benchmarks.similarities`` has filled; ``noise.csv`` is written there.
        pairs: its pair table.
        options: its options, of which those of evaluate.yaml are taken.
        noise: standard deviations, of images in 0..1; 0.05 to 0.5 in the source.
        blur: standard deviations, voxels; 0.5 to 3 in the source.
        status: of the rows that judge.
        methods: names; None takes all.

    Returns:
        A row a method, seed, pair and disturbance: method, seed, pair, kind, amount, dice, folding, deviation.

    Source: Czolbe et al., "DeepSim", Medical Image Analysis 2023, noise study.

    Raises:
        InputError: the study has no trained networks, or its pairs no label maps.
    """
    known = known_to_evaluate(parse_options(options))
    chosen = select_pairs(pairs, status=status)
    tables = []
    for model in sorted(Path(study).glob("*/models/model.pt")):
        root = model.parents[1]
        method, seed = root.name.rsplit("_", 1)
        if methods is not None and method not in methods:
            continue
        for kind, amounts in zip(KINDS, (noise, blur), strict=True):
            for amount in amounts:
                overrides = known | {"weights": str(model), kind: amount}
                rows = register(pairs, status, root / f"{kind}_{amount:g}", overrides, chosen, "disturbed.yaml")
                tables.append(rows.assign(method=method, seed=int(seed), kind=kind, amount=amount))
    if not tables:
        raise InputError(f"{study} has no METHOD_SEED/models/model.pt, or no amounts of noise or blur were given")
    table = pd.concat(tables, ignore_index=True)
    with atomic_path(Path(study) / "noise.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table
