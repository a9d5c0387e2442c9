"""A component finds the config that it is made from, and its arguments are made again from that alone."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from monai.bundle import ConfigParser

from custom_components.bundles.current import build_arguments, current_config


class Part:
    """Remembers the config that it was made from."""

    def __init__(self, size: int, other: Any = None) -> None:
        self.size = size
        self.config = current_config()


def refuse() -> None:
    raise AssertionError("this part of the config must not be made")


PART = f"{__name__}.Part"


def parser_of(**changes: Any) -> ConfigParser:
    config = {
        "imports": ["$import torch"],
        "size": 3,
        "whole": {"_target_": Part, "size": "$@size + 1", "other": {"_target_": refuse}, "net": "@net"},
        "net": {"_target_": "torch.nn.Linear", "in_features": "@size", "out_features": 1},
    }
    parser = ConfigParser({**config, **changes})
    parser.parse()
    return parser


def test_the_config_has_overrides_and_stays_data_when_parts_of_it_are_made():
    parser = parser_of(size=5, part={"_target_": Part, "size": "@size", "other": "@net"})
    part = parser.get_parsed_content("part")
    assert part.size == 5
    assert part.config["size"] == 5
    assert part.config["part"]["other"] == "@net"  # not the network
    assert pickle.loads(pickle.dumps(part.config)) == part.config
    assert current_config() is None
    assert Part(1).config is None


def test_only_the_arguments_that_are_asked_for_are_made_and_references_are_shared():
    config = parser_of(net2="@net").get()
    made = build_arguments(config, "whole", ("size", "net"))
    assert made["size"] == 4
    assert isinstance(made["net"], torch.nn.Linear)
    assert made["net"].in_features == 3
    assert config["whole"]["net"] == "@net"


def test_initialize_comes_first():
    config = parser_of(initialize=["$torch.manual_seed(7)"]).get()
    made = [build_arguments(config, "whole", ("net",))["net"].weight for _ in range(2)]
    assert torch.equal(*made)
