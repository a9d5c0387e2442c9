"""The log of a training is written by one process, where its package is."""

from __future__ import annotations

from importlib import import_module

import ignite.distributed as idist
import pytest

module = import_module("custom_components.handlers.tensorboard")


def test_the_first_process_writes(monkeypatch, capsys) -> None:
    assert not module.no_tensorboard()
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    assert module.no_tensorboard()
    assert not capsys.readouterr().out


@pytest.mark.parametrize("rank", [0, 1])
def test_without_the_package_the_first_says_so(monkeypatch, capsys, rank) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(idist, "get_rank", lambda: rank)
    assert module.no_tensorboard()
    assert ("tensorboard is not installed" in capsys.readouterr().out) == (rank == 0)
