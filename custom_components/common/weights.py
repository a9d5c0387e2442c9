"""State dicts of networks on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from custom_components.common.errors import InputError

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def read_state(file: str | Path, name: str) -> dict[str, Tensor]:
    """The state dict in a file, loaded with ``weights_only=True``.

    Args:
        file: to read.
        name: what a message calls the weights.

    Raises:
        InputError: the file is missing or holds no state dict.
    """
    if not Path(file).is_file():
        hint = ""
        if Path(file).stem.startswith("pretrained"):
            hint = "; installed packages leave it out: train by the config pretrain, or give --init_weights null"
        raise InputError(f"weights '{name}': {file} does not exist{hint}")
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no weight file makes the unpickler fail in any way
        raise InputError(f"weights '{name}': {file} can't be read as PyTorch weights") from error
    if not isinstance(state, dict):
        raise InputError(f"weights '{name}': {file} holds a {type(state).__name__}, not a state dict")
    return state


def load_state(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Load ``state`` into ``network``; buffers may be missing and keys left over, learned parameters may not.

    Raises:
        InputError: a parameter is missing or of another shape: the weights belong to another network.
    """
    try:
        missing = network.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # a shape differs
        raise InputError(f"weights '{name}' are those of another network: {error}") from error
    lost = sorted(set(missing) & dict(network.named_parameters()).keys())
    if lost:
        raise InputError(f"weights '{name}' lack {len(lost)} parameters of the network, first '{lost[0]}'")


def for_inference(network: NetworkT, file: str | Path, name: str) -> NetworkT:
    """``network`` with the weights in ``file``, to be used and not trained.

    Args:
        network: takes the weights.
        file: a state dict.
        name: what a message calls the weights.

    Raises:
        InputError: the file is missing or holds another network.
    """
    load_state(network, str(file), read_state(file, name))
    return network.eval().requires_grad_(False)


def load_pretrained(network: nn.Module, file: str | Path | None, torchscript: str | Path | None = None) -> nn.Module:
    """``network`` with the weights in ``file``; as it is if there is no file name.

    Args:
        network: takes the weights.
        file: a state dict.
        torchscript: a TorchScript file, returned in place of both where it is given.

    Raises:
        InputError: as ``read_state`` and ``fill``, or ``exported`` is no TorchScript file.
    """
    if torchscript is not None:
        try:
            module: nn.Module = torch.jit.load(str(torchscript), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{torchscript} can't be read as a TorchScript file") from error
        return module
    if file is not None:
        load_state(network, str(file), read_state(file, str(file)))
    return network
