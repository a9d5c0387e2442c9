"""Imported by each process of a cohort when it starts: all that pairs need, without looking for garbage meanwhile.

Thousands of modules are imported, and Python's collector, which goes through what is there over and over, finds nothing
among them; it takes a sixth of the start. What is there by then is not looked at again.
"""

from __future__ import annotations

import gc

gc.disable()
try:
    import custom_components.engines.cluster_worker
    import custom_components.handlers
    import custom_components.inferers
    import custom_components.matching
    import custom_components.networks
    import custom_components.transforms  # noqa: F401
finally:
    gc.freeze()
    gc.enable()
