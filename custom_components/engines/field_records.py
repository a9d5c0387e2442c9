"""Pairs with the field that another method found, for training a network that refines it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.data import Dataset
from tqdm import tqdm

from custom_components.common.console import say
from custom_components.engines.pair_evaluator import to_pair_images
from custom_components.engines.training_pairs import Record, stacked
from custom_components.inferers.result import PairImages, Registration
from custom_components.outputs.outcome import failure_reason


def field_records(
    pairs: Dataset, inferer: Callable[[PairImages], Registration], device: str | torch.device = "cpu"
) -> list[Record]:
    """``image`` (2, *spatial), moving and fixed, and ``field`` (D, *spatial), voxels, fixed -> moving, half precision.

    Each pair is registered once, before the training; one that can't be is named and left out.

    Args:
        pairs: as ``training_pairs`` gives.
        inferer: the other method.
        device: where it works; the records are on the CPU.
    """
    found: list[Record] = []
    for data in tqdm(pairs, desc="fields to refine", disable=len(pairs) == 0):
        try:
            field = inferer(to_pair_images(data, torch.device(device))).cpu().ddf
        except Exception as error:  # one bad pair must not stop a training
            say(f"left out: {data['pair'].id}: {failure_reason(error, data['pair'])}")
            continue
        found.append({"image": stacked(data, "working"), "field": field[0].half()})
    return found
