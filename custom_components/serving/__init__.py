"""Registration for a server: requests in, results out; knows no web framework."""

from __future__ import annotations

from custom_components.serving.answer import build_answer
from custom_components.serving.attachments import attach_files
from custom_components.serving.bodies import check_values, parse_object
from custom_components.serving.bundles import Bundle, find_bundles
from custom_components.serving.errors import RequestError
from custom_components.serving.files import file_inside
from custom_components.serving.jobs import TARGET, job_key, make_job
from custom_components.serving.listing import SERVED, list_images
from custom_components.serving.messages import public, short, without_folders
from custom_components.serving.outcomes import Outcome, QueueFull, RunError
from custom_components.serving.parameters import read_options
from custom_components.serving.polygons import to_polygons
from custom_components.serving.registration import register
from custom_components.serving.runs import RegistrationQueue
from custom_components.serving.tickets import Ticket, TicketStore
from custom_components.serving.worker import WorkerProcess

__all__ = [
    "SERVED",
    "TARGET",
    "Bundle",
    "Outcome",
    "QueueFull",
    "RegistrationQueue",
    "RequestError",
    "RunError",
    "Ticket",
    "TicketStore",
    "WorkerProcess",
    "attach_files",
    "build_answer",
    "check_values",
    "file_inside",
    "find_bundles",
    "job_key",
    "list_images",
    "make_job",
    "parse_object",
    "public",
    "read_options",
    "register",
    "short",
    "to_polygons",
    "without_folders",
]
