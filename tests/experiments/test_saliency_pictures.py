"""The picture of the stages: a row a pair, the pairs that were asked for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.experiments import SaliencyPictures
from custom_components.networks import joint_saliency_network
from custom_components.transforms import CommonPadd, GreyScaled, ReadPaird, WorkingSized

SIDE = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "pairs.csv").write_text("id,moving,fixed\na,0.png,1.png\nb,1.png,2.png\nc,2.png,0.png\n")
    return tmp_path / "pairs.csv"


def prepare(data):
    keys = ["moving", "fixed"]
    for step in (ReadPaird(), WorkingSized(keys, 64), GreyScaled(keys), CommonPadd(keys, 0, 8)):
        data = step(data)
    return data


def network(stages: str = "backward") -> torch.nn.Module:
    torch.manual_seed(0)
    return joint_saliency_network(stages, channels=(4, 4), local_channels=(4,))


@pytest.mark.parametrize(("chosen", "rows"), [({"number": 2}, 2), ({"ids": ["c"]}, 1), ({"ids": "c, a"}, 2)])
def test_a_row_of_eight_pictures_a_pair(table, chosen, rows) -> None:
    made = SaliencyPictures(str(table), network(), prepare, str(table.parent / "new" / "picture.png"), **chosen).run()
    with Image.open(made) as picture:
        width, height = picture.size
    assert height / width == pytest.approx(rows / 8, rel=0.5)


def test_a_picture_that_is_there_is_kept_unless_told(table, tmp_path) -> None:
    there = tmp_path / "saliency.png"
    there.write_bytes(b"the user's")
    with pytest.raises(InputError, match="exists already"):
        SaliencyPictures(str(table), network(), prepare, str(there)).run()
    assert there.read_bytes() == b"the user's"
    with pytest.raises(InputError, match="is an input"):
        SaliencyPictures(str(table), network(), prepare, str(table), overwrite="true").run()
    SaliencyPictures(str(table), network(), prepare, str(there), number=1, overwrite="true").run()
    assert there.read_bytes() != b"the user's"


def test_unknown_pairs_and_networks_without_saliency_are_refused(table) -> None:
    with pytest.raises(InputError, match="has no pair 'd'"):
        SaliencyPictures(str(table), network(), prepare, "picture.png", ids=["d"]).run()
    with pytest.raises(InputError, match="stages forward or backward"):
        SaliencyPictures(str(table), network("local"), prepare, "picture.png")
