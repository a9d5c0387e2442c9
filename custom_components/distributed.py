"""The processes of a distributed training, as torchrun starts them; a training without it is one process."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist


def local_device() -> torch.device:
    """The GPU of this process among those of its machine, or the CPU where there is no CUDA."""
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")


def join_processes(device: torch.device) -> None:
    """Meet the other processes, to exchange what is on ``device``."""
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
