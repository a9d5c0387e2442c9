"""One training and the registrations with it, or the registrations alone, as rows of Dice, folding and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from custom_components.bundles import open_bundle
from custom_components.common.errors import InputError
from custom_components.experiments.methods import CONFIGS, Method, read_keys
from custom_components.metrics import dice_per_label
from custom_components.outputs.targets import has_result
from custom_components.pairs import Pair, read_image
from custom_components.results.record import read_metrics


def unregistered(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Dice of the label maps as they lie over each other, a row a pair."""
    rows = []
    for pair in pairs:
        if pair.moving_labels is None or pair.fixed_labels is None:
            raise InputError(f"pair {pair.id}: both label maps are needed")
        maps = [read_image(file)[0].numpy().astype(np.int64) for file in (pair.moving_labels, pair.fixed_labels)]
        rows.append(
            {"pair": pair.id, "folding": 0.0, "deviation": 0.0, "seconds": 0.0, **_columns(dice_per_label(*maps))}
        )
    return pd.DataFrame(rows)


def registered(folder: Path, pairs: Sequence[Pair]) -> pd.DataFrame:
    """What evaluate.yaml left in ``folder``, a row a pair.

    Raises:
        InputError: a pair failed, or has no label maps.
    """
    rows = []
    for pair in pairs:
        metrics = read_metrics(folder / pair.id)
        if "dice" not in metrics:
            raise InputError(f"{folder / pair.id}: no Dice; {metrics.get('reason') or 'label maps are missing'}")
        rows.append(
            {
                "pair": pair.id, "folding": metrics["folding_share"], "deviation": metrics["log_jacobian_deviation"],
                "seconds": metrics["seconds"]["total"], **_columns(metrics["dice"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _columns(dice: Mapping[Any, float]) -> dict[str, float]:
    return {f"dice_{label}": value for label, value in dice.items()} | {"dice": float(np.mean(list(dice.values())))}


def evaluate(
    table: str, status: str | None, out: Path, options: Mapping[str, Any], pairs: Sequence[Pair],
    overlay: Path | None = None, configs: Path = CONFIGS,
) -> None:  # fmt: skip
    """evaluate.yaml, with an overlay perhaps; what is done is passed over.

    Args:
        table: pair table.
        status: of its rows; None takes all.
        out: folder of the results.
        options: overrides of evaluate.yaml.
        pairs: the rows themselves.
        overlay: config that is read after evaluate.yaml.
        configs: folder of evaluate.yaml.
    """
    # looked at before the config is, which for SyN needs ANTsPy even when nothing is left to do
    if overlay is not None and all(has_result(out, pair) for pair in pairs):
        return
    files = [str(file) for file in (configs / "evaluate.yaml", overlay) if file is not None]
    shared: dict[str, Any] = {"pairs": table, "status": status, "output_dir": str(out), "report": False, "resume": True}
    open_bundle(configs.parent, files, **shared, **options).run()


def register(
    table: str, status: str, out: Path, options: Mapping[str, Any], pairs: Sequence[Pair], overlay: str | None = None
) -> pd.DataFrame:
    """``evaluate``, then ``registered`` of the pairs, which are the rows themselves; the overlay by its name."""
    evaluate(table, status, out, options, pairs, None if overlay is None else CONFIGS / overlay)
    return registered(out, pairs)


def known_to_evaluate(options: Mapping[str, Any], configs: Path = CONFIGS) -> dict[str, Any]:
    """Those of the options that inference.yaml has; train.yaml has them all."""
    keys = read_keys(configs / "inference.yaml")
    return {key: value for key, value in options.items() if key in keys}


def train(root: Path, seed: int, table: str, options: Mapping[str, Any], configs: Path = CONFIGS) -> Path:
    """train.yaml with the table's rows of status "training", unless that is done; returns the model's file.

    Args:
        root: the run's bundle_root.
        seed: of the run.
        table: pair table.
        options: overrides of train.yaml.
        configs: folder of train.yaml.
    """
    model = root / "models" / "model.pt"
    if not model.exists():
        overrides = {"status": "training", **options}
        open_bundle(configs.parent, "train", pairs=table, bundle_root=str(root), seed=seed, **overrides).run()
    return model


def train_and_register(
    method: Method, seed: int, table: str, status: str, to: Path, options: Mapping[str, Any], pairs: Sequence[Pair]
) -> pd.DataFrame:
    """One method with one seed, from training to Dice."""
    root = to / f"{method.name}_{seed}"
    overrides = known_to_evaluate(options)
    if method.trained:
        overrides["weights"] = str(train(root, seed, table, {**options, **method.overrides}))
    else:
        overrides |= method.overrides
    rows = register(table, status, root / status, overrides, pairs, None if method.trained else "syn.yaml")
    return rows.assign(method=method.name, seed=seed)
