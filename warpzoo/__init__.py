"""WarpZoo: register two images of the same tissue, carry images, points and annotations over, and see how good it is.

    import warpzoo

    result = warpzoo.register("IHC.tif", "HE.tif")
    aligned = result.warp("IHC.tif")
    print(result.status, result.reason, result.points([[120.0, 80.0]]))

The command line is ``warpzoo --help``. All work is done by the package ``custom_components``, whose parts the bundles'
YAML names.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import custom_components

# another project's regular package of this name, such as Home Assistant's, may come first on the path
_beside = str(Path(__file__).resolve().parents[1] / "custom_components")
if _beside not in custom_components.__path__:
    custom_components.__path__.append(_beside)

from custom_components.common.errors import InputError, RegistrationError  # noqa: E402
from custom_components.common.version import VERSION as __version__  # noqa: E402

if TYPE_CHECKING:
    from warpzoo.api import Registration, open, register

__all__ = ["InputError", "Registration", "RegistrationError", "__version__", "open", "register"]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name not in ("Registration", "open", "register"):
        raise AttributeError(f"module 'warpzoo' has no attribute {name!r}")
    return getattr(importlib.import_module("warpzoo.api"), name)
