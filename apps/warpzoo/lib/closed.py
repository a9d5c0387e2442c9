"""MONAI Label's calls that make no sense here, or that would give away or start what they should not."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from monailabel.config import settings

from lib.users import USER

ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# each of the calls that train or score would start a process of its own
CLOSED = {
    "/train": "nothing is trained here; use a bundle's train.yaml",
    "/scoring": "nothing is scored here",
    "/session": "there are no sessions; PUT /datastore/image",
    "/proxy": "there is no DICOMweb here",
    "/model": "models are files of the server, which it neither gives nor takes",
    "/ohif": "there is no viewer for volumes here",
    "/reload": "new files are seen without it; for other settings start the server again",
    "/logs/gpu": "see the server itself",
}
router = APIRouter(tags=["WarpZoo"])


def _close(prefix: str, detail: str) -> None:
    def closed(user: Any = USER) -> None:
        raise HTTPException(404, f"{prefix}: {detail}")

    for path in (prefix, prefix + "/{rest:path}"):
        router.add_api_route(path, closed, methods=ALL, include_in_schema=False)


for _prefix, _detail in CLOSED.items():
    _close(_prefix, _detail)
if not settings.MONAI_LABEL_AUTH_ENABLE:  # names folders of the server; with authentication administrators read it
    _close("/logs", "are for administrators; switch authentication on, or read them on the server")


@router.post("/activelearning/{strategy}", summary="There are no strategies")
def no_strategy(strategy: str, user: Any = USER) -> None:
    """There is nothing to label."""
    raise HTTPException(404, f"strategy: there is no '{strategy[:80]}'; this server has none")


@router.get("/batch/infer", include_in_schema=False)
def no_status(user: Any = USER) -> None:
    """Of what MONAI Label runs itself, which is nothing."""
    raise HTTPException(404, "batch: POST /batch/infer gives tickets; look at GET /registrations/tickets")


@router.delete("/batch/infer", include_in_schema=False)
def no_stop(user: Any = USER) -> None:
    """See ``no_status``."""
    raise HTTPException(404, "batch: cancel tickets with DELETE /registrations/tickets/{ticket}")
