"""The parameters of a request: what they mean, which values they take, and what a bundle has them at.

Values go into a MONAI config, where strings that begin with ``$`` are run and those that begin with ``@`` or ``%`` are
looked up. So no parameter takes a free string.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from custom_components.bundles.aliases import present_name
from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.pairs.formats import MEDICAL, PICTURES, TIFF
from custom_components.serving.errors import RequestError

Value = bool | int | float | str | None
# .mhd and .nhdr would be two files
OUTPUT_FORMS = tuple(form[1:] for form in (*PICTURES, *TIFF, ".ome.tif", *MEDICAL) if form not in (".mhd", ".nhdr"))


@dataclass(frozen=True)
class Option:
    """One option of a registration.

    Attributes:
        kind: "integer", "number", "switch" or "choice".
        meaning: for a person.
        least: smallest value of a number.
        most: its largest value.
        choices: of a choice.
    """

    kind: str
    meaning: str
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()


OPTIONS = {
    "quality": Option("choice", "preset of speed against detail", choices=("fast", "balanced", "best")),
    "networks": Option("switch", "the networks propose a field beside the matches"),
    "working_size": Option("integer", "longest side in pixels of what is registered", 64, 8192),
    "micrometres_per_pixel": Option("number", "instead, for files that state their pixel size", 0.05, 1000),
    "channel": Option("integer", "of multi-channel images, match on this one; null takes all", 0, 1000),
    "margin": Option("integer", "empty pixels around the working images", 0, 1024),
    "align": Option("switch", "find an affine first"),
    "matching": Option("switch", "a first field by matches, before the network"),
    "rotation_step": Option("number", "degrees between the hypotheses of the affine search", 1, 360),
    "mirrored": Option("switch", "also try a section that was turned over"),
    "min_matches": Option("integer", "fewer consistent matches: the pair is refused", 3, 100_000),
    "optimise": Option("switch", "refine the pair by instance optimisation, some seconds more"),
    "seed": Option("integer", "of what is random", 0, 2**31 - 1),
    "background_value": Option("number", "grey value of the background; null: none"),
    "minimum_jacobian": Option("number", "smooth the field until its Jacobian determinant is above this", -10, 1),
    "amp": Option("switch", "compute in bfloat16"),
    "output_ext": Option("choice", "form of the warped image; null keeps the moving image's", choices=OUTPUT_FORMS),
    "report": Option("switch", "write report.html"),
}  # fmt: skip
# of the request itself, not of a bundle's config
ATTACHED = {
    "fixed": "id of the fixed image",
    "points": "points of the moving image to carry: [[x, y], ...] in pixels, or a CSV file of the studies folder",
    "fixed_points": "where they truly lie in the fixed image, in the same forms; gives the landmark error",
    "annotations": "annotations of the moving image to carry: GeoJSON, or a GeoJSON file of the studies folder",
    "viewer": "also write viewer.html, which zooms both images together",
}
# what MONAI Label's own clients and calls send along; none of it concerns a registration
CLIENTS = frozenset({
    "background", "cache_transforms", "description", "device", "foreground", "gpus", "images", "label_tag", "level",
    "location", "logging", "max_batch_size", "max_workers", "min_poly_area", "multi_gpu", "output", "result_compress",
    "result_dtype", "result_extension", "save_label", "size", "tile_size", "timeout",
})  # fmt: skip


def read_options(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Value]:
    """The options of a request that concern the config, each checked.

    Args:
        given: the request's parameters.
        defaults: top-level entries of the bundle's config; what it does not have can't be set.

    Raises:
        RequestError: a parameter that the bundle does not have, or a value that it does not take.
    """
    known = [name for name in OPTIONS if name in defaults]
    chosen: dict[str, Value] = {}
    for named, value in given.items():
        name = present_name(named, known)
        if name in known:
            chosen[name] = _checked(name, value, defaults[name])
        elif name not in ATTACHED and name not in CLIENTS:
            raise RequestError(name[:80], f"unknown parameter; this model has {', '.join((*ATTACHED, *known))}")
    return chosen


def switch(given: Mapping[str, Any], name: str) -> bool:
    """A switch of the request itself, off where it is not given.

    Raises:
        RequestError: it is neither true nor false.
    """
    value = given.get(name)
    if value is None or value == "":
        return False
    try:
        if not isinstance(value, bool | str):
            raise InputError("no word either")
        return booleans.parse_bool(value, name)
    except InputError:
        raise RequestError(name, f"is true or false, got {_short(value)}") from None


def describe(defaults: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a client is told of every parameter: meaning, kind, default and limits."""
    table: dict[str, dict[str, Any]] = {name: {"meaning": meaning} for name, meaning in ATTACHED.items()}
    for name, option in OPTIONS.items():
        if name in defaults:
            table[name] = {"meaning": option.meaning, "kind": option.kind, "default": defaults[name]}
            if math.isfinite(option.least):
                table[name] |= {"least": option.least, "most": option.most}
            if option.choices:
                table[name]["choices"] = list(option.choices)
    return table


def _checked(name: str, value: Any, default: Any) -> Value:
    option = OPTIONS[name]
    if value is None or value == "":  # forms of clients send "" for what was left empty
        if default is not None:
            raise RequestError(name, f"needs a value, such as {default}")
        return None
    if option.kind == "switch":
        return switch({name: value}, name)
    if option.kind == "choice":
        word = value.lower().removeprefix(".") if isinstance(value, str) else value
        if word not in option.choices:
            raise RequestError(name, f"is one of {', '.join(option.choices)}, got {_short(value)}")
        return str(word)
    return _number(name, value, option)


def _number(name: str, value: Any, option: Option) -> int | float:
    """The value as a number of the option's kind; text of a number is taken too, as forms send it."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or (option.kind == "integer" and number != int(number)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if option.kind == "integer" else "a number"
        raise RequestError(name, f"is {what}, got {_short(value)}") from None
    if not option.least <= number <= option.most:
        raise RequestError(name, f"lies between {option.least:g} and {option.most:g}, got {number:g}")
    return int(number) if option.kind == "integer" else number


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
