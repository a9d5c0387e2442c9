"""Names that keys of the configs had before, accepted for one version more."""

from __future__ import annotations

from collections.abc import Collection

from custom_components.common.console import say

OPTIONAL = {"optimize": "optimise"}  # two spellings of one key, both here to stay
EARLIER = {
    "black": ("background_value",),
    "enough": ("stop_after_matches",),
    "exported": ("torchscript",),
    "group_size": ("batch_size",),
    "half": ("amp",),
    "literal": ("reference_implementation",),
    "min_new": ("min_match_gain",),
    "smoothing": ("field_sigma",),
    "smoothness": ("regularization_weight",),
    "truth": ("epe_weight",),
    "workers": ("processes", "num_workers"),
}


def present_name(key: str, known: Collection[str]) -> str:
    """The name that a config has for a key given by another of its names; ``key`` itself where there is none.

    Args:
        key: top-level, as the user gave it; ``a::b`` goes deeper.
        known: the config's own keys.
    """
    top, *deeper = key.split("::")
    if top in known:
        return key
    for name in (OPTIONAL.get(top, ""), *EARLIER.get(top, ())):
        if name in known:
            if top in EARLIER:
                say(f"note: --{top} is called --{name} now; the old name will go with the next version")
            return "::".join((name, *deeper))
    return key


def other_names(key: str) -> list[str]:
    """Further names that the command line accepts for a key."""
    optional = [other for other, name in OPTIONAL.items() if name == key]
    return optional + [old for old, names in EARLIER.items() if key in names]
