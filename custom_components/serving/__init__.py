"""Registration for a server: requests in, results out; knows no web framework."""

from __future__ import annotations

from custom_components.serving.answer import build_answer
from custom_components.serving.attachments import attach_files
from custom_components.serving.bundles import Bundle, find_bundles
from custom_components.serving.errors import RequestError
from custom_components.serving.files import file_inside
from custom_components.serving.parameters import read_options
from custom_components.serving.polygons import to_polygons
from custom_components.serving.registration import register

__all__ = [
    "Bundle",
    "RequestError",
    "attach_files",
    "build_answer",
    "file_inside",
    "find_bundles",
    "read_options",
    "register",
    "to_polygons",
]
