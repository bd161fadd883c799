"""The study's server: pages, pictures, and a few questions in JSON. What they do is `desk`'s, and `admin`'s.

    GET  /  and  /r/TOKEN         the rater's page
    GET  /api/study               what the page says, and whether anybody may begin
    POST /api/start               somebody agrees → their token
    GET  /api/r/TOKEN             what they are to see
    POST /api/r/TOKEN/answers     what they said → what they are to see next
    POST /api/r/TOKEN/withdraw    all they said is deleted
    GET  /images/NAME             a picture, of those that raters may see
    GET  /admin, /admin/api/…     `admin`

A reply to an answer means that the disk has it. What a request carries is never part of a path or of SQL.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tedbench.errors import StoreError, UsageError, short

try:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException
except ImportError as missing:
    raise UsageError("a study's server needs more packages: pip install 'tedbench-editing[study]'") from missing

from tedbench.study import pages
from tedbench.study.admin import Admin
from tedbench.study.allocation import IDLE
from tedbench.study.bundle import IMAGES, Study
from tedbench.study.database import Database, Refused, open_database
from tedbench.study.desk import Desk
from tedbench.study.limits import Buckets, Limits
from tedbench.study.replies import Guarded, address, heard, refused, take

FOREVER = "public, max-age=31536000, immutable"
PATIENCE = 10
"""Seconds that requests under way have when the server is told to end."""


@dataclass(frozen=True)
class Site:
    """Where a study is served, and to whom."""

    admin_token: str
    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    open: bool = True
    """Whether anybody may begin, or only who has a link."""
    proxies: str = ""
    """Addresses, with commas between them, of reverse proxies whose X-Forwarded-For is believed; empty: nobody's."""
    idle: float = IDLE
    """Seconds after which what a rater was to be asked falls to others."""
    limits: Limits = field(default_factory=Limits)


def serve(study: Study, place: str | Path, site: Site, ready: Callable[[str], None] | None = None) -> None:
    """Serve a study until SIGINT or SIGTERM, then finish what is under way and return.

    Args:
        study: to be served.
        place: of its database, as `open_database` takes it; made where there is none.
        site: where, and to whom.
        ready: called with the URL once it answers.

    Raises:
        UsageError: if the address cannot be used, the admin token is short, or another process serves the study.
        StoreError: if the database cannot be used.
    """
    with closing(_listening(site)) as listening, closing(open_database(place, study)) as database:
        host, port = listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            app(study, database, site),
            log_config=None,  # the library prints nothing; an access log would hold raters' links
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            proxy_headers=bool(site.proxies),
            forwarded_allow_ips=site.proxies,
            timeout_graceful_shutdown=PATIENCE,
        )
        _Server(config, lambda: ready(url) if ready else None).run(sockets=[listening])


def app(study: Study, database: Database, site: Site) -> Guarded:
    """The server as an ASGI app; who makes it closes the database.

    Raises:
        UsageError: if the admin token is short, or another process serves the study.
    """
    desk = Desk(study, database, site.open, site.idle)
    made = FastAPI(title=study.public.title, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _Front(desk, site.limits).put_into(made)
    made.include_router(Admin(desk, site.admin_token, site.limits.admin).router())
    for error in (Refused, HTTPException):
        made.add_exception_handler(error, refused)
    made.add_exception_handler(StoreError, _unreachable)
    return Guarded(made)


class _Front:
    """What everybody reaches."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk, public = desk, desk.study.public
        self._told = pages.told(public)
        self._pages = {False: pages.rater(public, "server"), True: pages.admin(public.title)}
        self._folder = desk.study.path / IMAGES
        named = {name for one in public.questions for name in (one.input, one.first, one.second)}
        self._pictures = named & {path.name for path in self._folder.iterdir()}
        self._starts, self._unknown, self._raters = map(Buckets, (limits.starts, limits.unknown, limits.rater))

    def put_into(self, to: FastAPI) -> None:
        """Add the routes."""
        seen = ["GET", "HEAD"]
        for path, admin in (("/", False), ("/r/{token}", False), ("/admin", True)):
            to.add_api_route(path, self._page(admin), methods=seen)
        to.add_api_route("/images/{name}", self._picture, methods=seen)
        to.add_api_route("/favicon.ico", _nothing, methods=seen)
        to.add_api_route("/api/study", self._study)
        to.add_api_route("/api/start", self._start, methods=["POST"])
        to.add_api_route("/api/r/{token}", self._state)
        to.add_api_route("/api/r/{token}/answers", self._answer, methods=["POST"])
        to.add_api_route("/api/r/{token}/withdraw", self._withdraw, methods=["POST"])

    def _page(self, admin: bool) -> Callable[[], object]:
        page = self._pages[admin]

        async def sent() -> Response:
            return Response(page.html, headers={"Content-Security-Policy": page.policy}, media_type="text/html")

        return sent

    async def _picture(self, name: str) -> Response:
        if name not in self._pictures:  # looked up, never made a path of
            raise Refused(404, "no such picture")
        data = await asyncio.to_thread((self._folder / name).read_bytes)
        return Response(data, headers={"Cache-Control": FOREVER}, media_type="image/png")

    async def _study(self) -> Response:
        return JSONResponse({**self._told, "open": self._desk.open and not self._desk.full})

    async def _start(self, request: Request) -> Response:
        take(self._starts, address(request))
        said = await heard(request)
        if isinstance(token := said.get("token"), str) and token:
            self._admit(request, token)
        return JSONResponse({"token": await self._desk.do(lambda c: self._desk.start(c, said))})

    async def _state(self, request: Request, token: str) -> Response:
        self._admit(request, token)
        return JSONResponse(await self._desk.do(lambda c: self._desk.state(c, token)))

    async def _answer(self, request: Request, token: str) -> Response:
        self._admit(request, token)
        said = await heard(request)
        return JSONResponse(await self._desk.do(lambda c: self._desk.answer(c, token, said)))

    async def _withdraw(self, request: Request, token: str) -> Response:
        self._admit(request, token)
        return JSONResponse(await self._desk.do(lambda c: self._desk.withdraw(c, token)))

    def _admit(self, request: Request, token: str) -> None:
        """Not too often: a rater by their name; tokens that nobody has, by address, so that guessing is slow."""
        if rater := self._desk.known(token):
            take(self._raters, rater)
        else:
            take(self._unknown, address(request))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  (how signal calls it)
        """End, at once when told twice. uvicorn would raise the signal again before the database is closed."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _listening(site: Site) -> socket.socket:
    if not 0 <= site.port < 2**16:
        raise UsageError(f"no port {site.port}; ports go from 0 to {2**16 - 1}, and 0 is any that is free")
    try:
        family, *_, where = socket.getaddrinfo(site.host, site.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((where[0], site.port), family=family, backlog=2048)
    except OSError as error:
        said = error.strerror or short(error)
        raise UsageError(f"cannot listen at {site.host}, port {site.port} ({said}); choose another --port") from error


async def _nothing() -> Response:
    return Response(status_code=204)


async def _unreachable(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "the database cannot be reached; please try again in a moment"}, 503)
