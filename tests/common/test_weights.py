from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.common.weights import load_pretrained, load_state, read_state


def test_a_state_comes_back_as_saved(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "net.pt")
    assert read_state(tmp_path / "net.pt", "mine")["a"].tolist() == [0, 1, 2]


def test_a_file_that_holds_no_state_is_named(tmp_path):
    (tmp_path / "text.pt").write_text("this is no weight file")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"code": nn.Linear(1, 1)}, tmp_path / "objects.pt")  # would have to run code of a class
    for name in ("text", "empty", "list", "objects", "absent"):
        with pytest.raises(InputError, match=rf"weights 'mine': .*{name}\.pt"):
            read_state(tmp_path / f"{name}.pt", "mine")


def test_a_network_gets_the_weights_of_a_file(tmp_path):
    source, network = nn.Linear(2, 3), nn.Linear(2, 3)
    torch.save(source.state_dict(), tmp_path / "net.pt")
    assert load_pretrained(network, tmp_path / "net.pt") is network
    assert torch.equal(network.weight, source.weight)


def test_a_network_stays_as_it_is_without_a_file():
    network = nn.Linear(2, 3)
    before = network.weight.clone()
    assert load_pretrained(network, None) is network
    assert torch.equal(network.weight, before)


def test_weights_of_another_network_are_refused_with_the_file(tmp_path):
    torch.save(nn.Linear(2, 4).state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt' are those of another network"):
        load_pretrained(nn.Linear(2, 3), tmp_path / "other.pt")


def test_fill_takes_only_the_weights_of_the_network():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {key: torch.full_like(value, 7) for key, value in network.state_dict().items()}
    without_buffer = {key: value for key, value in state.items() if key != "1.running_mean"}
    load_state(network, "made", {**without_buffer, "left.over": torch.zeros(1)})
    assert bool((network[0].weight == 7).all())
    with pytest.raises(InputError, match=r"'made' lack 1 parameters of the network, first '0\.bias'"):
        load_state(network, "made", {key: value for key, value in state.items() if key != "0.bias"})
    with pytest.raises(InputError, match="'made' are those of another network"):
        load_state(network, "made", {**state, "0.bias": torch.zeros(9)})


def test_an_export_is_taken_in_place_of_network_and_weights(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(network), tmp_path / "network.ts")
    torchscript = load_pretrained(nn.Identity(), tmp_path / "missing.pt", tmp_path / "network.ts")
    assert torch.equal(torchscript(torch.ones(1, 3)), network(torch.ones(1, 3)))


def test_a_file_that_is_no_export_is_named(tmp_path: Path) -> None:
    (tmp_path / "network.ts").write_text("not a network")
    with pytest.raises(InputError, match=r"network\.ts can't be read as a TorchScript file"):
        load_pretrained(nn.Identity(), None, tmp_path / "network.ts")
