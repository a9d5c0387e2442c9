"""Self-contained form of a bundle, for the model zoo and the Hugging Face Hub.

    python -m custom_components.share pack bundles/patch_nonrigid --output packed --zip true
    python -m custom_components.share push packed/patch_nonrigid --repo user/patch_nonrigid

The first writes that form, the second uploads it.
"""

from __future__ import annotations

from custom_components.share.hub import push
from custom_components.share.packing import pack

__all__ = ["pack", "push"]
