"""Around all routes: how much may be sent, and that no answer names a folder of the server or shows a traceback."""

from __future__ import annotations

import errno
import logging
import uuid
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware

Public = Callable[[str], str]
ADDRESS = 8192  # bytes of a path or query
BODY = 32 << 20  # bytes of what is no file
FILES = ("/datastore", "/datastore/", "/datastore/image", "/datastore/label")
logger = logging.getLogger(__name__)


def add_guard(app: FastAPI, public: Public, upload_limit: int) -> None:
    """Put limits and error answers around the routes of an app that has started already.

    Args:
        app: MONAI Label's.
        public: takes out of a message what is the server's own.
        upload_limit: bytes of a file.
    """
    answers = _Answers(public)
    app.add_exception_handler(StarletteHTTPException, answers.http)
    app.add_exception_handler(RequestValidationError, answers.invalid)
    app.add_exception_handler(MONAILabelException, answers.label)
    app.add_exception_handler(OSError, answers.system)
    app.add_exception_handler(Exception, answers.internal)
    app.user_middleware.insert(0, Middleware(Limits, upload_limit=upload_limit))
    app.middleware_stack = app.build_middleware_stack()


class _Answers:
    """Errors as ``{"detail": one line}``."""

    def __init__(self, public: Public) -> None:
        self._public = public

    async def http(self, request: Request, error: Any) -> JSONResponse:
        detail = error.detail if isinstance(error.detail, str) else "refused"
        return self._answer(error.status_code, detail, error.headers)

    async def invalid(self, request: Request, error: Any) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return self._answer(422, f"{place}: {first['msg']}")

    async def label(self, request: Request, error: Any) -> JSONResponse:
        """What MONAI Label does not find is nearly all that it raises, answered with 500 otherwise."""
        return self._answer(404, error.msg)

    async def system(self, request: Request, error: Any) -> JSONResponse:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return self._answer(507, f"the server can't write: {error.strerror}")
        if error.errno == errno.ENAMETOOLONG:
            return self._answer(400, "a name is too long")
        return await self.internal(request, error)

    async def internal(self, request: Request, error: Exception) -> JSONResponse:
        number = uuid.uuid4().hex[:8]
        logger.error("error %s at %s %s", number, request.method, request.url.path, exc_info=error)
        return self._answer(500, f"an internal error; the server's log has it as {number}")

    def _answer(self, status: int, detail: str, headers: Any = None) -> JSONResponse:
        return JSONResponse({"detail": self._public(detail)}, status, headers)


class Limits:
    """Refuses long addresses (414) and large bodies (413) before they are read."""

    def __init__(self, app: Any, upload_limit: int) -> None:
        self._app = app
        self._upload_limit = upload_limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if max(len(scope.get("raw_path") or b""), len(scope.get("query_string") or b"")) > ADDRESS:
            await JSONResponse({"detail": f"address: has more than {ADDRESS} bytes"}, 414)(scope, receive, send)
            return
        limit = self._upload_limit if scope["method"] == "PUT" and scope["path"] in FILES else BODY
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        detail = f"body: has more than {limit >> 20} MB"
        if not declared.isdigit() or int(declared) > limit:
            await JSONResponse({"detail": detail}, 413)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:  # sent without saying how much
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)
