"""Rows of Dice, from label maps as they are; the rest is tested with the grid and the table of similarities."""

from __future__ import annotations

from dataclasses import replace

import pytest

from custom_components.common.errors import InputError
from custom_components.experiments import registered, unregistered
from custom_components.pairs import read_pairs


def test_unregistered_pairs_have_the_dice_of_their_label_maps(labelled_table) -> None:
    found = unregistered(read_pairs(labelled_table)[2:4])
    assert list(found["pair"]) == ["12", "02"]
    assert (found["dice_2"] < 1).all()
    assert found["dice"][0] > found["dice"][1]  # one voxel apart, not two
    pair = replace(read_pairs(labelled_table)[0], moving_labels=None)
    with pytest.raises(InputError, match="pair 01: both label maps are needed"):
        unregistered([pair])


def test_a_pair_that_failed_is_named(labelled_table, tmp_path) -> None:
    pair = read_pairs(labelled_table)[0]
    (tmp_path / "01").mkdir()
    (tmp_path / "01" / "metrics.json").write_text('{"status": "failed", "reason": "no contrast"}')
    with pytest.raises(InputError, match="no Dice; no contrast"):
        registered(tmp_path, [pair])
