"""Which similarity should drive a registration network? Each is trained with several seeds and judged by label maps.

    python -m benchmarks.similarities --pairs data/em/pairs.csv --to out/em --seeds 3 \
        --methods "mse:0.02 ncc:0.5 mind:0.125 ncc+sup:0.5 deepsim-ae:1=runs/em/models/autoencoder.pt" \
        --options "max_epochs=40 patch_size=256 classes=2"

A method is ``similarity:lambda``, with ``+sup`` supervised by the label maps too, ``deepsim-NAME`` with
``=EXTRACTOR``; ``syn`` is ANTs' without training, ``syn-NAME=EXTRACTOR`` with features too, for which ANTsPy must be
there. No registration, ``none``, is always in the table. Options go to the bundle's train.yaml and, as far as
it has them, to evaluate.yaml. Trainings and registrations that are done are passed over, so the command may be stopped
and repeated. Writes similarities.md and .csv.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
import yaml
from monai.bundle import run
from scipy.stats import wilcoxon

from custom_components.errors import InputError
from custom_components.metrics import dice_per_label
from custom_components.pairs import Pair, atomic_path, read_image, select_pairs

CONFIGS = Path("bundles/semantic_similarity/configs")
NONE = "none"


@dataclass(frozen=True)
class Method:
    """A similarity to train with.

    Attributes:
        name: in the table.
        overrides: of train.yaml, or of evaluate.yaml where nothing is trained.
        trained: whether there is a network.
    """

    name: str
    overrides: Mapping[str, Any]
    trained: bool = True


def method_of(text: str) -> Method:
    """A method as the command line gives it, see above.

    Raises:
        InputError: not of this form.
    """
    classical = re.fullmatch(r"(syn(?:-\w+)?)(?:=(.+))?", text)
    if classical is not None:
        return Method(classical[1], {"extractor": classical[2]}, trained=False)
    found = re.fullmatch(r"([a-z]+)(-\w+)?(\+sup)?:([0-9.e-]+)(?:=(.+))?", text)
    if found is None:
        raise InputError(f"method '{text}' is not of the form similarity[-name][+sup]:lambda[=extractor]")
    similarity, kind, supervised, smoothness, extractor = found.groups()
    name = similarity + (kind or "") + (supervised or "")
    overrides: dict[str, Any] = {"similarity": similarity, "smoothness": float(smoothness), "extractor": extractor}
    return Method(name, overrides | ({"supervision": 1.0} if supervised else {}))


def options_of(text: str) -> dict[str, Any]:
    """``key=value`` pairs divided by spaces, values as YAML.

    Raises:
        InputError: a word without an equals sign.
    """
    words = text.split()
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise InputError(f"an option is key=value, got '{wrong[0]}'")
    return {key: yaml.safe_load(value) for key, value in (word.split("=", 1) for word in words)}


def keys_of(config: Path) -> set[str]:
    """The keys that a config can be overridden in."""
    return set(yaml.safe_load(config.read_text()))


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
        metrics = json.loads((folder / pair.id / "metrics.json").read_text())
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


def train_and_register(
    method: Method, seed: int, table: str, status: str, to: Path, options: Mapping[str, Any], pairs: Sequence[Pair]
) -> pd.DataFrame:
    """One method with one seed, from training to Dice."""
    root = to / f"{method.name}_{seed}"
    model = root / "models" / "model.pt"
    configs = [str(CONFIGS / "evaluate.yaml")]
    overrides: dict[str, Any] = {key: value for key, value in options.items() if key in keys_of(Path(configs[0]))}
    if not method.trained:
        configs.append(str(CONFIGS / "syn.yaml"))
        overrides |= method.overrides
    else:
        overrides["weights"] = str(model)
        if not model.exists():
            train = {"status": "training", **options, **method.overrides}
            run(config_file=str(CONFIGS / "train.yaml"), pairs=table, bundle_root=str(root), seed=seed, **train)
    out = root / status
    run(config_file=configs, pairs=table, status=status, output_dir=str(out), report=False, resume=True, **overrides)
    return registered(out, pairs).assign(method=method.name, seed=seed)


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's method, in their order."""
    order = np.argsort(values)
    corrected = np.maximum.accumulate([values[i] * (len(values) - rank) for rank, i in enumerate(order)])
    result = np.empty(len(values))
    result[order] = np.minimum(corrected, 1.0)
    return [float(value) for value in result]


def significance(rows: pd.DataFrame) -> pd.DataFrame:
    """Every two methods over pairs (means over seeds): two-sided Wilcoxon test, Cohen's d of the pooled deviation."""
    means = rows.groupby(["method", "pair"], sort=False)["dice"].mean().unstack("method")
    found = []
    for first, second in combinations(means.columns, 2):
        a, b = means[first].to_numpy(), means[second].to_numpy()
        pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        p = 1.0 if np.array_equal(a, b) else float(wilcoxon(a, b).pvalue)
        d = float((a - b).mean() / pooled) if pooled > 0 else 0.0
        found.append({"first": first, "second": second, "difference": float((a - b).mean()), "p": p, "d": d})
    table = pd.DataFrame(found)
    return table.assign(p=holm(table["p"].to_list())) if len(table) else table


def markdown(rows: pd.DataFrame) -> str:
    """Table of the methods, and of their differences."""
    classes = [name for name in rows.columns if name.startswith("dice_")]
    lines = [
        "| method | seeds | mean Dice | " + " | ".join(f"Dice {name[5:]}" for name in classes)
        + " | folded, % | sd log J | seconds a pair |",
        "| --- |" + " --- |" * (len(classes) + 5),
    ]  # fmt: skip
    for method, part in rows.groupby("method", sort=False):
        seeds = part.groupby("seed")["dice"].mean()
        spread = f" +- {seeds.std():.4f}" if len(seeds) > 1 else ""
        cells = [f"{part['dice'].mean():.4f}{spread}", *(f"{part[name].mean():.4f}" for name in classes)]
        cells += [
            f"{100 * part['folding'].mean():.3f}",
            f"{part['deviation'].mean():.3f}",
            f"{part['seconds'].mean():.1f}",
        ]
        lines.append(f"| {method} | {len(seeds)} | " + " | ".join(cells) + " |")
    lines += ["", "| | mean Dice, difference | p (Wilcoxon, Holm) | Cohen's d |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row.first} - {row.second} | {row.difference:+.4f} | {row.p:.2g} | {row.d:+.2f} |"
        for row in significance(rows).itertuples()
    ]
    return "\n".join(lines)


def similarities(
    pairs: str, to: str, methods: str, seeds: int = 1, status: str = "evaluation", options: str = ""
) -> str:
    """The table of all methods; see the module.

    Args:
        pairs: pair table with label maps; rows of status "training" train.
        to: folder of the trainings, registrations and tables.
        methods: divided by spaces.
        seeds: 0 to seeds - 1 each.
        status: of the rows that judge; "validation" to choose lambda by.
        options: of train.yaml and evaluate.yaml, divided by spaces.

    Returns:
        Markdown.

    Raises:
        InputError: a method or option is wrong, or a pair has no label maps.
    """
    chosen, folder, given = select_pairs(pairs, status=status), Path(to), options_of(options)
    unknown = set(given) - keys_of(CONFIGS / "train.yaml") - keys_of(CONFIGS / "evaluate.yaml")
    if unknown:
        raise InputError(f"neither train.yaml nor evaluate.yaml has the key '{sorted(unknown)[0]}'")
    tables = [unregistered(chosen).assign(method=NONE, seed=0)]
    for method in [method_of(text) for text in methods.split()]:
        for seed in range(seeds if method.trained else 1):
            tables.append(train_and_register(method, seed, pairs, status, folder, given, chosen))
    rows = pd.concat(tables, ignore_index=True)
    text = markdown(rows)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "similarities.csv") as temporary:
        rows.to_csv(temporary, index=False)
    with atomic_path(folder / "similarities.md") as temporary:
        temporary.write_text(text + "\n")
    return text


if __name__ == "__main__":
    try:
        fire.Fire(similarities)
    except InputError as error:
        sys.exit(f"error: {error}")
