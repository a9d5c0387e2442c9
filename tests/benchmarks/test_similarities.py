"""The table of similarities: what the command line says, Holm, effect sizes, and a whole run on tiny images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.similarities import holm, markdown, method_of, options_of, significance, similarities, unregistered
from custom_components.errors import InputError
from custom_components.pairs import read_pairs, write_image


def test_methods_as_the_command_line_gives_them() -> None:
    assert method_of("mse:0.02").overrides == {"similarity": "mse", "smoothness": 0.02, "extractor": None}
    supervised = method_of("ncc+sup:0.5")
    assert (supervised.name, supervised.overrides["supervision"]) == ("ncc+sup", 1.0)
    learned = method_of("deepsim-ae:1e-1=runs/a=b.pt")
    assert learned.name == "deepsim-ae"
    assert learned.overrides == {"similarity": "deepsim", "smoothness": 0.1, "extractor": "runs/a=b.pt"}
    for wrong in ("mse", "mse:", ":1", "mse:x"):
        with pytest.raises(InputError, match="is not of the form"):
            method_of(wrong)


def test_options() -> None:
    assert options_of("max_epochs=3 patch_size=[8,16] black=null") == {
        "max_epochs": 3, "patch_size": [8, 16], "black": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="got 'x'"):
        options_of("a=1 x")


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]


OTHERS = {"folding": 0.0, "deviation": 0.1, "seconds": 1.0}


def rows(**scores: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": m, "seed": 0, "pair": str(i), "dice": v, "dice_1": v, **OTHERS}
            for m, values in scores.items()
            for i, v in enumerate(values)
        ]
    )


def test_the_effect_size_is_the_difference_in_pooled_deviations() -> None:
    values = np.linspace(0.5, 0.7, 9)
    table = significance(rows(a=list(values), b=list(values + 0.1)))
    assert table["difference"][0] == pytest.approx(-0.1)
    assert table["d"][0] == pytest.approx(-0.1 / values.std(ddof=1))
    assert table["p"][0] == pytest.approx(2 / 2**9)  # the smallest that nine pairs can give
    assert significance(rows(a=[0.5, 0.6], b=[0.5, 0.6]))["p"][0] == 1
    assert "| b | 1 | 0.7000 | 0.7000 | 0.000 | 0.100 | 1.0 |" in markdown(rows(a=list(values), b=list(values + 0.1)))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["id,moving,fixed,moving_labels,fixed_labels,status"]
    for number in range(3):
        image = gaussian_filter(np.random.default_rng(0).normal(size=(48, 56)), 3)
        image = np.roll((image - image.min()) / np.ptp(image), number, axis=1)
        for kind, array in (("image", 255 * image), ("labels", 1 + (image > 0.5))):
            write_image(tmp_path / f"{kind}{number}.png", array.astype(np.uint8)[None])
    for moving, fixed, status in ((0, 1, "training"), (1, 0, "training"), (1, 2, "evaluation"), (0, 2, "evaluation")):
        files = [f"{kind}{number}.png" for kind in ("image", "labels") for number in (moving, fixed)]
        lines.append(",".join([f"{moving}{fixed}", *files, status]))
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


def test_unregistered_pairs_have_the_dice_of_their_label_maps(table) -> None:
    found = unregistered(read_pairs(table)[2:])
    assert list(found["pair"]) == ["12", "02"]
    assert (found["dice_2"] < 1).all()
    assert found["dice"][0] > found["dice"][1]  # one voxel apart, not two


def test_the_whole_table_and_its_resuming(table, monkeypatch, capsys) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(root)
    to = table.parent / "out"
    options = "max_epochs=1 classes=3 batch_size=1 device=cpu"
    arguments = {"pairs": str(table), "to": str(to), "methods": "mse:0.02 ncc+sup:0.5", "seeds": 2, "options": options}
    text = similarities(**arguments)
    assert [line.split(" | ")[0] for line in text.splitlines()[2:5]] == ["| none", "| mse", "| ncc+sup"]
    assert len(pd.read_csv(to / "similarities.csv")) == 2 + 2 * 2 * 2
    model = to / "mse_1" / "models" / "model.pt"
    before = model.stat().st_mtime_ns
    assert similarities(**arguments) == text
    assert model.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="has the key 'epochs'"):
        similarities(**{**arguments, "options": "epochs=3"})
