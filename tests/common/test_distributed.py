"""What a process knows of those it trains with."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist

from custom_components.common.distributed import (
    all_gather,
    barrier,
    is_distributed,
    is_follower,
    join_processes,
    local_device,
    process_count,
    process_rank,
    with_averaged_gradients,
)


@pytest.fixture
def _one_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torchrun tells the only process of a training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    yield
    dist.destroy_process_group()


def test_without_others_a_process_is_the_first_of_one() -> None:
    assert not is_distributed()
    assert (process_count(), process_rank(), is_follower()) == (1, 0, False)
    assert all_gather({"a": 1}) == [{"a": 1}]
    barrier()
    network = torch.nn.Linear(1, 1)
    assert with_averaged_gradients(network) is network


@pytest.mark.usefixtures("_one_of_one")
def test_processes_on_the_cpu_meet_over_gloo() -> None:
    join_processes(torch.device("cpu"))
    assert is_distributed()
    assert dist.get_backend() == "gloo"
    assert (process_count(), process_rank(), is_follower()) == (1, 0, False)


def test_all_but_the_first_leave_the_files_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    assert is_follower()


@pytest.mark.parametrize(("available", "device"), [(True, "cuda:1"), (False, "cpu")])
def test_a_process_has_its_own_gpu_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch, available: bool, device: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert local_device() == torch.device(device)
