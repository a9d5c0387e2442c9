"""Where a training writes, and what it is made of: never over a bundle's own weights, nor over another training's."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from custom_components.bundles.current import current_config
from custom_components.bundles.keys import check_current
from custom_components.common.distributed import is_distributed
from custom_components.common.errors import InputError
from custom_components.outputs.identity import file_record, read_run_settings
from custom_components.pairs import Pair, select_pairs

# keys of a training config that say where, how long or by which processes, and not what is learned of what
APART = frozenset({
    "imports", "initialize", "finalize", "run", "bundle_root", "run_dir", "ckpt_dir", "model_file", "matches_dir",
    "dataset_dir", "device", "overwrite", "pairs", "status", "num_workers", "max_epochs", "last_epochs", "stage",
    "generate_keypoints", "handlers", "tensorboard", "train", "trainer",
})  # fmt: skip


def run_folder(bundle_root: str, runs: str = "runs") -> str:
    """The folder of a training: ``<runs>/<bundle>/<time>``, or ``bundle_root`` where that is no bundle's folder.

    All processes of a distributed training get that of the first one.

    Args:
        bundle_root: of the config; a folder of one's own has no ``configs/metadata.json``.
        runs: folder of all trainings.

    Raises:
        InputError: several processes train that have not met yet.
    """
    check_current()
    root = Path(bundle_root)
    if not (root / "configs" / "metadata.json").is_file():
        return str(bundle_root)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not is_distributed():
        raise InputError("several processes train: give --run_dir, so that all of them write into one folder")
    folder = Path(runs) / root.resolve().name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    taken, number = folder, 1
    while taken.exists():
        number += 1
        taken = folder.with_name(f"{folder.name}_{number}")
    return str(idist.all_gather(str(taken))[0])


def training_record(
    pairs: str | Path | None, status: str | None = None, dataset_dir: str | Path | None = None
) -> dict[str, Any]:
    """What identifies a training: its data, bundle, options and the weights that it starts from.

    Args:
        pairs: pair table (CSV).
        status: of its rows; None takes all.
        dataset_dir: folder that a relative path of the table starts from.

    Returns:
        A dictionary for JSON; a training is resumed only by one with the same.
    """
    chosen = select_pairs(pairs=pairs, status=status, dataset_dir=dataset_dir) if pairs is not None else []
    rows = [[pair.id, *_list_files(pair)] for pair in chosen]
    settings = read_run_settings(current_config(), APART)
    return {
        "data": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "weights": dict(settings.weights), "options": dict(settings.options),
    }  # fmt: skip


def _list_files(pair: Pair) -> list[list[Any]]:
    """Size and SHA-256 of the pair's files, of large ones the size alone: a copy elsewhere is as good."""
    found = [(entry.name, getattr(pair, entry.name)) for entry in fields(pair)]
    known = [(name, path.name, file_record(path)) for name, path in found if isinstance(path, Path)]
    return [[name, file, record.get("size"), record.get("sha256")] for name, file, record in known]
