"""Waiting for a registration without a thread: while many wait, everything else is answered."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from monailabel.interfaces.utils.app import app_instance

from custom_components.serving import Outcome

GLANCE = 1.0  # seconds between two looks whether the client is still there


async def register(request: Request, wanted: dict[str, Any], owner: str, copied: bool = False) -> dict[str, Any]:
    """Register and wait for it; what waits for a client that went away is taken back.

    Args:
        request: of the client.
        wanted: see ``WarpZoo.submit``.
        owner: name of the user.
        copied: see there.

    Returns:
        What MONAI Label's ``send_response`` takes.

    Raises:
        HTTPException: the request is wrong, too many wait, or there is no result.
    """
    app = app_instance()
    ticket, future = await run_in_threadpool(app.submit, wanted, owner, False, copied)
    waits = asyncio.wrap_future(future)
    while not (await asyncio.wait([waits], timeout=GLANCE))[0]:
        if ticket.state == "queued" and await request.is_disconnected():
            await run_in_threadpool(app.queue.cancel, ticket.id)
    return answer_of(waits.result())


def answer_of(outcome: Outcome) -> dict[str, Any]:
    """What MONAI Label's ``send_response`` takes.

    Raises:
        HTTPException: the registration gave no result.
    """
    if outcome.result is None:
        raise HTTPException(outcome.status, outcome.detail)
    return {"label": outcome.file, "tag": "", "file": outcome.file, "params": outcome.result}
