"""``python -m warpzoo`` is the command ``warpzoo``."""

from __future__ import annotations

from warpzoo.cli import main

main()
