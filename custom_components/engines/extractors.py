"""Feature extractors from files, and as TorchScript for other tools.

    python -m custom_components.engines.extractors --weights runs/mine/models/autoencoder.pt --to autoencoder.ts

writes the TorchScript module.
"""

from __future__ import annotations

import sys
from pathlib import Path

import fire
import torch
from torch import nn

from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.common.stopping import stopped_by_signals
from custom_components.common.weights import load_pretrained, load_state, read_state
from custom_components.networks.feature_encoder import FeatureEncoder, frozen
from custom_components.networks.vgg_features import VGGFeatures
from custom_components.pairs import atomic_path
from custom_components.pairs.overwriting import check_output_file

PREFIX = "encoder."
VGG = "features.0.weight"
KERNEL = 4  # of the strided convolutions, by which the stages are recognised


def load_extractor(file: str | Path | None) -> nn.Module | None:
    """The extractor in a file, frozen and in evaluation mode, its sizes read from the weights.

    Args:
        file: weights of a ``StridedUNet`` or of its ``FeatureEncoder``, torchvision's of ``vgg16``, or a TorchScript
            file (.ts) whose module returns a list of feature maps; None gives None, for losses that need no extractor.

    Raises:
        InputError: the file is missing, or holds no such network.
    """
    if file is None:
        return None
    if Path(file).suffix == ".ts":
        return frozen(load_pretrained(nn.Identity(), None, file))
    state = read_state(file, str(file))
    if VGG in state:
        with torch.device("meta"):
            vgg = VGGFeatures()
        load_state(vgg.to_empty(device="cpu"), str(file), state)
        return frozen(vgg)
    if any(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    strided = [value for name, value in state.items() if name.endswith("weight") and value.shape[2:3] == (KERNEL,)]
    if not strided:
        raise InputError(f"{file} has no strided convolutions of a feature encoder; give weights of a StridedUNet")
    with torch.device("meta"):  # every parameter comes from the file, so none is drawn
        network = FeatureEncoder(
            spatial_dims=strided[0].ndim - 2,
            in_channels=strided[0].shape[1],
            channels=[len(weight) for weight in strided],
            norm=any(name.endswith("running_mean") for name in state),
        )
    load_state(network.to_empty(device="cpu"), str(file), state)
    return frozen(network)


def export_extractor(weights: str, to: str, overwrite: bool = False) -> str:
    """Write the extractor of a file as TorchScript that returns the list of its feature maps, finest first.

    Args:
        weights: see ``load_extractor``.
        to: the file to write, .ts or .pt.
        overwrite: replace it where it is there already.

    Returns:
        What was written.

    Raises:
        InputError: see ``load_extractor``; or ``to`` is there already, or is ``weights``.
    """
    check_output_file(to, (weights,), booleans.parse_bool(overwrite, "overwrite"))
    extractor = load_extractor(weights)
    assert extractor is not None
    scripted = extractor if isinstance(extractor, torch.jit.ScriptModule) else torch.jit.script(extractor)
    with atomic_path(Path(to)) as temporary:
        torch.jit.save(scripted, str(temporary))
    return f"{to}: image (B, 1, ...) -> list of feature maps"


if __name__ == "__main__":
    try:
        with stopped_by_signals():
            fire.Fire(export_extractor)
    except InputError as error:
        sys.exit(f"error: {error}")
