"""The pairs of a table, prepared once and kept in memory for a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from monai.data import Dataset
from torch import Tensor

from custom_components.common.arrays import SIDES
from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import Data
from custom_components.outputs.outcome import failure_reason
from custom_components.pairs import Pair, select_pairs

KEPT = ("pair", *(f"{name}_{side}" for name in ("working", "mask", "labels") for side in SIDES))
Record = dict[str, Tensor]


def training_pairs(
    pairs: str | Path | None,
    preprocessing: Callable[[Data], Data],
    status: str | None = None,
    workers: int = 2,
    dataset_dir: str | Path | None = None,
) -> Dataset:
    """The prepared pairs of a table in memory; those that can't be read are named and left out.

    Args:
        pairs: pair table (CSV); None gives no pairs, so that a config can be parsed without data.
        preprocessing: from ``{"pair": Pair}`` to the keys of ``transforms.dictionary``.
        status: of the table, only rows with this status.
        workers: threads that read.
        dataset_dir: folder that a relative path of the table starts from.

    Raises:
        InputError: the table is wrong, or none of its pairs can be read.
    """
    chosen: Sequence[Pair] = (
        select_pairs(pairs=pairs, status=status, dataset_dir=dataset_dir) if pairs is not None else ()
    )

    def prepare(pair: Pair) -> Data | None:
        try:
            prepared = preprocessing({"pair": pair})
        except Exception as error:  # one bad pair must not stop a training
            say(f"left out: {pair.id}: {failure_reason(error, pair)}")
            return None
        return {key: prepared[key] for key in KEPT if key in prepared}

    with ThreadPoolExecutor(workers) as pool:
        read = [data for data in pool.map(prepare, chosen) if data is not None]
    if chosen and not read:
        raise InputError(f"{pairs}: none of the {len(chosen)} pairs can be read")
    return Dataset(read)


def stacked(data: Data, name: str, sides: Sequence[str] = SIDES) -> Tensor:
    """(len(sides), *spatial) float32 of the "working" images, "mask"s or "labels" of a prepared pair."""
    return torch.cat([torch.as_tensor(data[f"{name}_{side}"]).as_subclass(Tensor).float() for side in sides])


def stacked_pairs(pairs: Dataset) -> list[Record]:
    """``image`` (2, *spatial), moving and fixed, and ``labels`` (2, *spatial) where both have them.

    Args:
        pairs: as ``training_pairs`` gives.
    """
    return [_record(data, SIDES) for data in pairs]


def single_images(pairs: Dataset) -> list[Record]:
    """Every file of the pairs once: ``image`` (1, *spatial) and ``labels`` (1, *spatial) where it has them.

    Args:
        pairs: as ``training_pairs`` gives.
    """
    found: dict[Path, Record] = {}
    for data in pairs:
        for side in SIDES:
            found.setdefault(getattr(data["pair"], side), _record(data, (side,)))
    return list(found.values())


def build_records(pairs: Dataset, kind: str = "pairs", spatial_dims: int = 2) -> list[Record]:
    """``stacked_pairs``, ``single_images``, or both after one another.

    Args:
        pairs: as ``training_pairs`` gives.
        kind: "pairs", "images" or "both".
        spatial_dims: 2 or 3.

    Raises:
        InputError: another kind, or single volumes, which can't be bent.
    """
    if kind not in ("pairs", "images", "both"):
        raise InputError(f"records is pairs, images or both, got '{kind}'")
    if kind != "pairs" and spatial_dims != 2:
        raise InputError(f"single images are bent in two dimensions only: give --records pairs, got '{kind}'")
    found = stacked_pairs(pairs) if kind != "images" else []
    return found + (single_images(pairs) if kind != "pairs" else [])


def _record(data: Data, sides: Sequence[str]) -> Record:
    names = {"image": "working"} | ({"labels": "labels"} if all(f"labels_{side}" in data for side in sides) else {})
    return {key: stacked(data, name, sides) for key, name in names.items()}
