"""The processes of a distributed training, as torchrun starts them; a training without it is one process."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def local_device() -> torch.device:
    """The GPU of this process among those of its machine, or the CPU where there is no CUDA."""
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")


def join_processes(device: str | torch.device) -> None:
    """Meet the other processes, to exchange what is on ``device``."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def is_distributed() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


def process_count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if is_distributed() else 1


def process_rank() -> int:
    """Of this process among them, from 0 on."""
    return dist.get_rank() if is_distributed() else 0


def is_follower() -> bool:
    """Whether another process than this one writes the files."""
    return process_rank() > 0


def all_gather(part: T) -> list[T]:
    """What each process gives, by rank; all of them must call it. Tensors in it are on the CPU."""
    if process_count() == 1:
        return [part]
    parts: list[T | None] = [None] * process_count()
    dist.all_gather_object(parts, part)
    return [each for each in parts if each is not None]


def barrier() -> None:
    """Until every process has come here, so that what the first one wrote before is there for all."""
    all_gather(process_rank())


def with_averaged_gradients(network: nn.Module) -> nn.Module:
    """``network`` with the weights of the first process, every backward pass averaging gradients over the processes.

    Parameters may be left out of a pass, such as the finer parts of a coarsest level.
    """
    return DistributedDataParallel(network, find_unused_parameters=True) if is_distributed() else network
