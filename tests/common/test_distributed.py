"""What a process knows of those it trains with."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Iterator

import ignite.distributed as idist
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from custom_components.common.distributed import is_distributed, is_follower, leave, local_device, parallel, sampler

DATA = list(range(5))


@pytest.fixture
def _one_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The only process of a training, as torchrun starts it and a config's ``initialize`` lets it meet the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    idist.initialize("gloo")
    yield
    leave()


def test_without_others_a_process_is_the_first_of_one() -> None:
    assert not is_distributed()
    assert not is_follower()
    network = torch.nn.Linear(1, 1)
    assert parallel(network) is network
    assert sampler(DATA) is None


@pytest.mark.usefixtures("_one_of_one")
def test_a_process_that_has_met_others_averages_with_them_and_takes_its_part() -> None:
    assert is_distributed()
    assert not is_follower()
    assert dist.get_backend() == "gloo"
    assert isinstance(parallel(torch.nn.Linear(1, 1)), DistributedDataParallel)
    part = sampler(DATA)
    assert part is not None
    assert list(part) == DATA


@pytest.mark.usefixtures("_one_of_one")
def test_nothing_holds_the_group_of_processes_after_leaving() -> None:
    network = parallel(torch.nn.Linear(2, 1))
    network(torch.ones(1, 2)).sum().backward()
    group = weakref.ref(dist.group.WORLD)
    leave()
    assert group() is None  # else its threads would outlive the interpreter, though the network is still here
    assert not is_distributed()
    assert network is not None


def test_all_but_the_first_leave_the_files_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    assert is_follower()


@pytest.mark.parametrize(("available", "device"), [(True, "cuda:1"), (False, "cpu")])
def test_a_process_has_its_own_gpu_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch, available: bool, device: str
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert local_device() == torch.device(device)
