"""Pairs for a training: each is read once, bad ones are named and left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

from custom_components.common.errors import InputError
from custom_components.engines import build_records, single_images, stacked_pairs, training_pairs
from custom_components.pairs import select_pairs

PREPARED = ("working_moving", "working_fixed", "mask_moving", "mask_fixed")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three pairs, the second of which can't be prepared."""
    path = tmp_path / "pairs.csv"
    rows = "one,a.png,b.png,training\ntwo,a.png,absent.png,training\nthree,b.png,a.png,other\n"
    path.write_text("id,moving,fixed,status\n" + rows)
    return path


class Preparation:
    """Stands for reading; counts."""

    def __init__(self, bad: Sequence[str]) -> None:
        self.bad = bad
        self.calls: list[str] = []

    def __call__(self, data: dict) -> dict:
        pair = data["pair"]
        self.calls.append(pair.id)
        if pair.id in self.bad:
            raise InputError(f"{pair.fixed.name} is damaged")
        return {**data, **dict.fromkeys(PREPARED), "moving": "the whole image, which needn't be kept"}


def test_a_pair_that_cannot_be_read_is_named_and_left_out(table, capsys):
    dataset = training_pairs(table, Preparation(["two"]))
    assert [item["pair"].id for item in dataset] == ["one", "three"]
    assert capsys.readouterr().out == "left out: two: absent.png is damaged\n"
    assert set(dataset[0]) == {"pair", *PREPARED}


def test_every_pair_is_prepared_once(table):
    preparation = Preparation(["two"])
    dataset = training_pairs(table, preparation)
    for _ in range(2):
        assert len(list(dataset)) == 2
    assert sorted(preparation.calls) == ["one", "three", "two"]


def test_only_rows_of_a_status_are_taken(table):
    assert [item["pair"].id for item in training_pairs(table, Preparation([]), "other")] == ["three"]


def test_a_table_of_which_nothing_can_be_read_is_refused(table):
    with pytest.raises(InputError, match=r"pairs\.csv: none of the 3 pairs can be read"):
        training_pairs(table, Preparation(["one", "two", "three"]))


def test_a_config_without_a_table_has_no_pairs():
    assert len(training_pairs(None, dict)) == 0


def prepared(moving: str, fixed: str, labels: bool = True) -> dict:
    """A pair whose images are constant, the value of each file its own."""
    pair = select_pairs(moving=moving, fixed=fixed)[0]
    data = {"pair": pair}
    for side, name in (("moving", moving), ("fixed", fixed)):
        value = float(ord(name[0]))
        data[f"working_{side}"] = MetaTensor(torch.full((1, 3, 4), value))
        if labels:
            data[f"labels_{side}"] = MetaTensor(torch.full((1, 3, 4), value + 1000))
    return data


def test_pairs_are_stacked_moving_first():
    records = stacked_pairs([prepared("a.png", "b.png"), prepared("c.png", "a.png", labels=False)])
    assert records[0]["image"][:, 0, 0].tolist() == [97.0, 98.0]
    assert records[0]["labels"][:, 0, 0].tolist() == [1097.0, 1098.0]
    assert set(records[1]) == {"image"}
    assert type(records[0]["image"]) is torch.Tensor


def test_every_file_comes_once_as_a_single_image():
    records = single_images([prepared("a.png", "b.png"), prepared("b.png", "a.png"), prepared("c.png", "a.png")])
    assert [record["image"][0, 0, 0].item() for record in records] == [97.0, 98.0, 99.0]
    assert records[2]["labels"].shape == (1, 3, 4)


def test_records_are_the_pairs_the_single_images_or_both_after_one_another():
    pairs = [prepared("a.png", "b.png"), prepared("b.png", "a.png"), prepared("c.png", "a.png")]
    values = {
        kind: [record["image"][:, 0, 0].tolist() for record in build_records(pairs, kind)]
        for kind in ("pairs", "images", "both")
    }
    assert values["pairs"] == [[97, 98], [98, 97], [99, 97]]
    assert values["images"] == [[97], [98], [99]]
    assert values["both"] == values["pairs"] + values["images"]
    assert all("labels" in record for record in build_records(pairs, "both"))
    assert [len(record["image"]) for record in build_records(pairs)] == [2, 2, 2]


def test_records_of_no_pairs_are_none_and_another_kind_is_refused():
    assert build_records([], "both") == []
    with pytest.raises(InputError, match="records is pairs, images or both, got 'image'"):
        build_records([], "image")


def test_single_volumes_are_refused():
    with pytest.raises(InputError, match="give --records pairs"):
        build_records(training_pairs(None, lambda data: data), "both", spatial_dims=3)
