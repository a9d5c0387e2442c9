"""Names of kinds of arrays, and of the two images of a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]  # of homogeneous coordinates
Points = npt.NDArray[np.float64]  # (N, D)
SIDES = ("moving", "fixed")
