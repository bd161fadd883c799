"""How the server hears and speaks: bodies of bounded size, JSON, and headers that keep every reply harmless."""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tedbench.study.database import Refused
from tedbench.study.limits import Buckets, neighbourhood

BODY = 16 * 1024
"""Bytes of a request's body, at most."""
ALWAYS = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
}
"""Headers of every reply that does not say otherwise."""


class Guarded:
    """An app with `ALWAYS` on all it says. It stands outside of what makes a failure a 500, so that those have them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's own form."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _completed(message.get("headers", []))}
            await send(message)

        await self._app(scope, receive, guarded)


async def heard(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        Refused: 413 where it is too long, 422 where it is no JSON object in UTF-8.
    """
    try:
        said = json.loads((await _body(request)).decode())
    except (ValueError, RecursionError) as error:
        raise Refused(422, "the body is not JSON in UTF-8") from error
    if not isinstance(said, dict):
        raise Refused(422, "the body is not a JSON object")
    return said


def address(request: Request) -> str:
    """Where a request comes from, as limits count it."""
    return neighbourhood(request.client.host if request.client else "")


def within(wait: float) -> None:
    """Go on if there is nothing to wait for.

    Raises:
        Refused: 429.
    """
    if wait:
        raise Refused(429, "too many requests; please wait a moment", retry_after=math.ceil(wait))


def take(buckets: Buckets, key: str) -> None:
    """Take from a bucket; raises as `within`."""
    within(buckets.take(key))


async def refused(_request: Request, error: Exception) -> Response:
    """What `Refused` and the framework's own refusals become: {error, and what else there is to say}."""
    if isinstance(error, Refused):
        return JSONResponse({"error": str(error), **error.more}, error.status, _headers(error))
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    raise error


def _headers(error: Refused) -> dict[str, str]:
    if error.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if error.status == 413:
        return {"Connection": "close"}  # what still comes is not read
    return {"Retry-After": str(error.more["retry_after"])} if "retry_after" in error.more else {}


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    have = {name.lower() for name, _ in headers}
    return [*headers, *((name, value) for name, value in ALWAYS.items() if name not in have)]


async def _body(request: Request) -> bytes:
    """Counted as it comes: what a header says of its length binds nobody."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY:
                raise Refused(413, f"the body is longer than {BODY} bytes")
    except ClientDisconnect as error:
        raise Refused(400, "the request ended early") from error
    return bytes(body)
