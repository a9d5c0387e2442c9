"""MONAI Label app that registers pairs of images with the bundles of this repository; docs/serving.md.

monailabel start_server --app apps/warpzoo --studies FOLDER
"""

from __future__ import annotations

import atexit
import signal
import sys
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from fastapi import HTTPException
from lib.datastore import Studies
from lib.guard import add_guard
from lib.login import add_login
from lib.models import RegistrationTask
from lib.places import add_routes
from lib.settings import check_device, read_numbers, read_texts
from lib.waiting import answer_of
from monailabel.config import settings as label_settings
from monailabel.interfaces.app import MONAILabelApp

from custom_components.bundles import root
from custom_components.common import booleans
from custom_components.common.errors import InputError
from custom_components.outputs.pair_folder import check_writable
from custom_components.serving import (
    TARGET,
    Outcome,
    QueueFull,
    RegistrationQueue,
    RequestError,
    Ticket,
    TicketStore,
    WorkerProcess,
    find_bundles,
    public,
)

MEGABYTE = 1 << 20


class WarpZoo(MONAILabelApp):  # type: ignore[misc]
    """The app.

    ``--conf`` takes models (names, commas between; default all), fixed (id of a fixed image for requests that name
    none), results (folder, default ``registrations`` in the studies folder), follow_links (also take images that are
    links to files elsewhere), device (of torch) and the numbers of ``lib.settings``.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        try:
            self.settings, self.numbers = read_texts(conf), read_numbers(conf)
            if studies.startswith(("http://", "https://")):
                raise InputError(f"--studies is a folder here, got {studies}")
            folder = Path(studies)
            self.results = Path(self.settings["results"] or folder / "registrations").resolve()
            names = [name.strip() for name in self.settings["models"].split(",") if name.strip() not in ("", "all")]
            check_device(self.settings["device"])
            self.bundles = find_bundles(root() / "bundles", names)
            check_writable(self.results)
            store = TicketStore(self.results / ".tickets", self.numbers["keep_tickets"])
            store.claim()
        except InputError as error:
            sys.exit(f"error: --conf: {error}")
        label_settings.MONAI_LABEL_SESSIONS = False  # they would keep what nothing here reads
        super().__init__(
            app_dir, studies, conf, name="WarpZoo", labels=[],
            description="Registration: the image of a request is warped onto another one, its parameter 'fixed'",
        )  # fmt: skip
        worker = WorkerProcess(TARGET, self.numbers["time_limit"])
        self.queue = RegistrationQueue(worker, store, self.numbers["max_waiting"])
        atexit.register(self.queue.close)

    def init_datastore(self) -> Studies:
        """The studies folder, from which no file outside of it is given."""
        return Studies(self.studies, booleans.parse_bool(self.settings["follow_links"], "follow_links"))

    def init_infers(self) -> dict[str, RegistrationTask]:
        """A task a bundle."""
        return {name: RegistrationTask(bundle, self) for name, bundle in self.bundles.items()}

    def init_strategies(self) -> dict[str, Any]:
        """None: there is nothing to label."""
        return {}

    def on_init_complete(self) -> None:
        """Put this app's routes before MONAI Label's, and its limits and error answers around all."""
        super().on_init_complete()
        from monailabel.app import app

        add_routes(app)
        add_login(app)
        add_guard(app, self.public, self.numbers["upload_limit"] * MEGABYTE)
        self._answer_at_the_end()

    def _answer_at_the_end(self) -> None:
        """Answer who waits when a signal ends the server, which else would wait for them, however many there are."""
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)

            def end(number: int, frame: FrameType | None, before: Any = before) -> None:
                Thread(target=self.queue.close, daemon=True).start()  # no handler may take its locks
                if callable(before):
                    before(number, frame)

            signal.signal(number, end)

    def submit(
        self, request: dict[str, Any], owner: str = "", kept: bool = True, copied: bool = False
    ) -> tuple[Ticket, Future[Outcome]]:
        """Queue the registration of ``request["image"]`` onto ``request["fixed"]``.

        Args:
            request: with ``model``, ``image`` and the parameters.
            owner: name of the user.
            kept: the ticket outlives the request.
            copied: the outcome is to have a copy of the warped image.

        Raises:
            HTTPException: the request is wrong, or too many wait.
        """
        name = request.get("model", "")
        task = self._infers.get(name) if isinstance(name, str) else None
        if task is None:
            raise HTTPException(404, f"model: there is no '{str(name)[:80]}'; there are {', '.join(self._infers)}")
        try:
            ticket, job = task.prepare(request)
            ticket.owner, ticket.kept = owner, kept
            return self.queue.submit(ticket, job, task.copy if copied else None)
        except RequestError as error:
            raise HTTPException(error.status, self.public(str(error))) from error
        except InputError as error:  # the results folder is full or can't be written
            raise HTTPException(507, self.public(str(error))) from error
        except QueueFull as full:
            raise HTTPException(503, str(full), {"Retry-After": str(full.seconds)}) from full

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Register and wait for it; for callers in Python, the routes do not block a thread.

        Raises:
            HTTPException: see ``submit`` and ``answer_of``.
        """
        _, future = self.submit(request, kept=False, copied=True)
        return answer_of(future.result())

    def public(self, message: str) -> str:
        """The message without the server's own paths."""
        return public(message, self.folders())

    def folders(self) -> list[Path]:
        """Those of the server that no answer is to name."""
        studies = Path(self.studies)
        return [studies.absolute(), studies.resolve(), self.results, root()]
