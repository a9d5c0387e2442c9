"""The processes of a distributed training, beside what ``ignite.distributed`` says of them."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data.distributed import DistributedSampler

_wrapped: weakref.WeakSet[DistributedDataParallel] = weakref.WeakSet()


def local_device() -> torch.device:
    """The GPU that torchrun means for this process, or the CPU without CUDA; known before the processes have met."""
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")


def is_distributed() -> bool:
    """Whether this process has joined others, be it as the only one."""
    return bool(idist.model_name() != "serial")


def is_follower() -> bool:
    """Whether another process than this one writes the files."""
    return bool(idist.get_rank() > 0)


def parallel(network: nn.Module, find_unused_parameters: bool = False) -> nn.Module:
    """``network`` with the weights of the first process, every backward pass averaging gradients over the processes.

    Args:
        network: on this process's device.
        find_unused_parameters: some may be left out of a pass, such as the finer parts of a coarsest level.
    """
    if not is_distributed():
        return network
    wrapped = DistributedDataParallel(network, find_unused_parameters=find_unused_parameters)
    _wrapped.add(wrapped)
    return wrapped


def leave() -> None:
    """Part from the other processes; what ``parallel`` made can't be trained after it.

    Gloo's threads live as long as anything holds the process group, and one that still has a gradient in hand when the
    interpreter ends aborts the process, a failure of the whole training to torchrun. The networks of the trainer hold
    it until the very end, so it is taken from them here.
    """
    if not is_distributed():
        return
    for wrapped in _wrapped:
        for holder in ("reducer", "logger", "process_group"):
            setattr(wrapped, holder, None)
    idist.finalize()
    gc.collect()


def sampler(dataset: Any) -> DistributedSampler[Any] | None:
    """This process's part of a dataset, in its order; None, which takes all, without other processes."""
    return DistributedSampler(dataset, shuffle=False) if is_distributed() else None
