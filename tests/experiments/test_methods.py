"""Methods and options as the command line gives them."""

from __future__ import annotations

import pytest

from custom_components.common.errors import InputError
from custom_components.experiments import parse_method, parse_options


def test_methods_as_the_command_line_gives_them() -> None:
    assert parse_method("mse:0.02").overrides == {"similarity": "mse", "regularization_weight": 0.02, "extractor": None}
    supervised = parse_method("ncc+sup:0.5")
    assert (supervised.name, supervised.overrides["supervision"]) == ("ncc+sup", 1.0)
    learned = parse_method("deepsim-ae:1e-1=runs/a=b.pt")
    assert learned.name == "deepsim-ae"
    assert learned.overrides == {"similarity": "deepsim", "regularization_weight": 0.1, "extractor": "runs/a=b.pt"}
    ablated = parse_method("deepsim-ae@02:1=a.pt")
    assert (ablated.name, ablated.overrides["levels"]) == ("deepsim-ae@02", [0, 2])
    classical = parse_method("syn-seg=a.pt")
    assert (classical.name, classical.overrides, classical.trained) == ("syn-seg", {"extractor": "a.pt"}, False)
    assert not parse_method("syn").trained
    for wrong in ("mse", "mse:", ":1", "mse:x"):
        with pytest.raises(InputError, match="is not of the form"):
            parse_method(wrong)


def test_options() -> None:
    assert parse_options("max_epochs=3 patch_size=[8,16] background_value=null") == {
        "max_epochs": 3, "patch_size": [8, 16], "background_value": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="got 'x'"):
        parse_options("a=1 x")
