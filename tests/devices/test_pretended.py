"""The pretended device refuses what a real one refuses, and computes what the CPU computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn


def test_a_network_left_on_the_cpu_is_found(device):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3))
    image = torch.rand(1, 1, 8, 8)
    wanted = network(image)
    with pytest.raises(RuntimeError, match="same device"):
        network(image.to(device))
    assert torch.equal(network.to(device)(image.to(device)).cpu(), wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda there, here: there + here,
        lambda there, here: here * there,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.stack([there[0, 0], here[0, 0]]),
        lambda there, here: here[there > 0.5],
        lambda there, here: there.__setitem__(there > 2, here),
        lambda there, here: there.numpy(),
        lambda there, here: np.asarray(there),
    ],
)
def test_devices_do_not_mix(device, wrong):
    here = torch.rand(3, 4)
    with pytest.raises((RuntimeError, TypeError)):
        wrong(here.to(device), here)


def test_what_cuda_allows_is_allowed(device):
    here = torch.rand(3, 4)
    there = here.to(device)
    assert torch.equal((there * torch.tensor(2.0)).cpu(), here * 2)
    assert torch.equal(there[here > 0.5].cpu(), here[here > 0.5])
    there[:, 1:] = torch.zeros(3, 3)  # a copy
    assert float(there[:, 1:].sum()) == 0
    assert there.device.type == there.new_zeros(2).device.type == torch.zeros(2, device=device).device.type != "cpu"
    assert torch.as_tensor(np.eye(2), device=device).device == torch.tensor([1, 2], device=device).device == device


def test_gradients_and_optimisers_stay_on_the_device(device):
    network = nn.Linear(3, 1).to(device)
    twin = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    before = network.weight.detach().cpu().clone()
    network(torch.rand(5, 3, device=device)).square().mean().backward()
    assert network.weight.grad.device == device
    optimiser.step()
    assert not torch.equal(network.weight.detach().cpu(), before)
    assert torch.equal(twin.weight.detach().cpu(), before)


def test_double_precision_is_refused_where_there_is_none(single_precision_device):
    with pytest.raises(TypeError, match="double precision"):
        torch.zeros(2, dtype=torch.float64, device=single_precision_device)
    with pytest.raises(TypeError, match="double precision"):
        torch.zeros(2, device=single_precision_device).double()
    assert torch.ones(2, device=single_precision_device).cpu().double().sum() == 2


def test_float64_arrays_may_come_in_single_precision(single_precision_device):
    moved = torch.from_numpy(np.eye(3)).to(single_precision_device, torch.float32)
    assert moved.device == single_precision_device
