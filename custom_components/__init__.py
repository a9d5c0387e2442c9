"""WarpZoo: MONAI bundles for deformable image registration."""

from __future__ import annotations

__version__ = "0.1.0"
