"""Puts this app's routes before those of MONAI Label."""

from __future__ import annotations

from fastapi import FastAPI

from lib import closed, login, routes, storage, tickets


def add_routes(app: FastAPI) -> None:
    """Put these routes before those of the same path."""
    before = len(app.router.routes)
    for part in (login, tickets, routes, storage, closed):
        app.include_router(part.router)
    added = app.router.routes[before:]
    del app.router.routes[before:]
    app.router.routes[:0] = added
