"""Registrations with a ticket: asked for in one call, looked at in others, taken back in another."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from monailabel.interfaces.utils.app import app_instance

from custom_components.serving import RequestError, Ticket, parse_object
from lib.users import USER, is_admin

router = APIRouter(tags=["WarpZoo"])
PLACE = "/registrations/tickets"
SHOWN = 100  # tickets of a listing


@router.post("/registrations", summary="Ask for a registration, get a ticket", status_code=202)
async def ask(request: Request, response: Response, user: Any = USER) -> dict[str, Any]:
    """Body: ``{"model": "histology_registration", "image": "IHC", "params": {"fixed": "HE"}}``."""
    told = await run_in_threadpool(_submit, await request.body(), user.username)
    response.headers["Location"] = f"{PLACE}/{told['ticket']}"
    return told


@router.get(PLACE, summary="The newest tickets")
def listing(state: str = "", user: Any = USER) -> dict[str, Any]:
    """A user's own ones, of an administrator all; without results."""
    queue = app_instance().queue
    found = [t for t in queue.tickets() if (not state or t.state == state) and _may_see(t, user)]
    return {"tickets": [_described(t) for t in found[: -SHOWN - 1 : -1]], "total": len(found)}


@router.get(PLACE + "/{identifier}", summary="State of a registration, its place in the queue, its result")
def look(identifier: str, user: Any = USER) -> dict[str, Any]:
    """Of one ticket."""
    ticket = _find(identifier, user)
    result = app_instance().queue.result(ticket) or {}
    return {**_described(ticket), **result}


@router.delete(PLACE + "/{identifier}", summary="Take a registration back")
def cancel(identifier: str, user: Any = USER) -> dict[str, Any]:
    """It leaves the queue, or its run ends unless someone else waits for the same."""
    ticket = _find(identifier, user)
    if not app_instance().queue.cancel(ticket.id):
        raise HTTPException(409, f"ticket: is {ticket.state} already")
    return _described(ticket)


def _submit(body: bytes, owner: str) -> dict[str, Any]:
    try:
        given = parse_object("body", body)
        unknown = [key for key in given if key not in ("model", "image", "params")]
        if unknown:
            raise RequestError("body", f"has model, image and params, not {unknown[0][:80]!r}")
        params = given.get("params") or {}
        if not isinstance(params, dict):
            raise RequestError("params", 'is an object such as {"fixed": "HE"}')
        for key in ("image", "model"):
            if not isinstance(given.get(key), str) or not given[key]:
                raise RequestError(key, "is missing")
            if key in params:
                raise RequestError("params", f"'{key}' is given beside params, not in it")
    except RequestError as error:
        raise HTTPException(error.status, str(error)) from error
    ticket, _ = app_instance().submit({"model": given["model"], "image": given["image"], **params}, owner)
    return _described(ticket)


def _described(ticket: Ticket) -> dict[str, Any]:
    return {**ticket.described(), "place": app_instance().queue.place(ticket), "url": f"{PLACE}/{ticket.id}"}


def _find(identifier: str, user: Any) -> Ticket:
    ticket: Ticket | None = app_instance().queue.get(identifier)
    if ticket is None or not _may_see(ticket, user):
        raise HTTPException(404, f"ticket: there is no '{identifier[:40]}'; old ones are forgotten")
    return ticket


def _may_see(ticket: Ticket, user: Any) -> bool:
    return ticket.owner == user.username or is_admin(user)
