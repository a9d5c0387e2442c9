"""Images that are plainly of another kind than the weights' data are told, and only those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from custom_components.common.errors import InputError
from custom_components.pairs import Pair, read_image
from custom_components.pairs.kinds import image_kind, kind_warning
from custom_components.transforms import ReadPaird

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 52), dtype=np.uint8)
PINK = np.stack([200 + GREY // 8, 120 + GREY // 4, 170 + GREY // 6], axis=-1)


def written(folder: Path, kind: str) -> Path:
    file = folder / f"{kind}{'.mha' if kind in ('slice', 'volume') else '.png'}"
    if kind in ("slice", "volume"):
        shape = (40, 52) if kind == "slice" else (34, 40, 52)
        sitk.WriteImage(sitk.GetImageFromArray(RNG.random(shape).astype(np.float32)), str(file))
    else:
        Image.fromarray({"pink": PINK, "grey": GREY, "equal": np.stack([GREY] * 3, axis=-1)}[kind]).save(file)
    return file


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("pink", "section"), ("grey", None), ("equal", None), ("slice", "radiology"), ("volume", "radiology")],
)
def test_only_what_is_plain_is_said(tmp_path, kind, wanted) -> None:
    image = read_image(written(tmp_path, kind))
    assert image_kind(image) == wanted
    for trained_on in ("section", "radiology"):
        told = kind_warning(image, "the moving image", trained_on)
        assert bool(told) == (wanted not in (None, trained_on))
    with pytest.raises(InputError, match="trained_on is section, radiology or null, got 'cats'"):
        kind_warning(image, "it", "cats")


def test_a_pair_gets_a_note_that_names_the_side(tmp_path) -> None:
    pair = {"pair": Pair("a", written(tmp_path, "grey"), written(tmp_path, "pink"))}
    (note,) = ReadPaird(trained_on="radiology")(pair)["notes"]
    assert "the fixed image looks like one of stained sections" in note
    assert "trained on radiological images" in note
    assert ReadPaird(trained_on="section")(pair)["notes"] == ReadPaird()(pair)["notes"] == ()
