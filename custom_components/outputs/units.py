"""Units as readers see them."""

from __future__ import annotations

UNITS = {"pixel": "px", "voxel": "voxels", "micrometre": "\N{MICRO SIGN}m", "millimetre": "mm"}
