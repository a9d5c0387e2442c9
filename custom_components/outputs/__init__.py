"""Writers and report of a registration."""

from __future__ import annotations

from custom_components.outputs.pair_folder import is_done
from custom_components.outputs.submission import write_submission
from custom_components.outputs.summary import write_summary
from custom_components.outputs.writer import write_failure, write_registration

__all__ = ["is_done", "write_failure", "write_registration", "write_submission", "write_summary"]
