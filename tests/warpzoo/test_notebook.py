"""The bar of a notebook: shown by its kernel alone, updated in place, gone at the end."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import warpzoo
from custom_components.common.errors import InputError
from warpzoo.notebook import NotebookProgress, in_notebook


class ZMQInteractiveShell:
    """As a notebook's kernel has it."""


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """The states of the one display, in their order."""
    states: list[str] = []

    def display(content: str, display_id: bool) -> Any:
        states.append(content)
        return SimpleNamespace(update=states.append)

    parent, child = ModuleType("IPython"), ModuleType("IPython.display")
    parent.get_ipython, child.HTML, child.display = ZMQInteractiveShell, str, display
    monkeypatch.setitem(sys.modules, "IPython", parent)
    monkeypatch.setitem(sys.modules, "IPython.display", child)
    return states


def test_it_is_a_notebook_where_its_shell_runs(shown) -> None:
    assert in_notebook()


def test_elsewhere_it_is_none() -> None:
    assert not in_notebook()


def test_the_line_names_stage_and_pair_and_goes(shown) -> None:
    bar = NotebookProgress()
    bar.pair(2, 3, "a<b")
    bar.stage("matching")
    bar.stop()
    assert 'value="1" max="3"' in shown[-2]
    assert "a&lt;b matching, 0 s" in shown[-2]
    assert shown[-1] == ""


@pytest.mark.parametrize(("progress", "bars"), [(None, True), (False, False)])
def test_a_registration_shows_it_unless_asked_not_to_and_clears_it_where_it_fails(shown, progress, bars) -> None:
    with pytest.raises(InputError):
        warpzoo.register(np.zeros((64, 64), np.uint8), "nowhere.png", progress=progress)
    assert not shown  # refused before the work begins
    with pytest.raises(InputError, match="pair: the moving image is empty"):
        warpzoo.register(*(np.zeros((64, 64), np.uint8),) * 2, progress=progress)
    assert bool(shown) == bars
    assert not shown or shown[-1] == ""
