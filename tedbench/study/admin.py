"""What whoever runs a study may ask its server: how far it is, the answers, whom to pay, and to forget a rater."""

from __future__ import annotations

import asyncio
import hmac

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from tedbench.errors import UsageError
from tedbench.study.answers import as_csv, identities_csv
from tedbench.study.database import Refused
from tedbench.study.desk import Desk
from tedbench.study.limits import Buckets, Rate
from tedbench.study.replies import address, take, within

SHORTEST = 16
"""Characters of an admin token."""


class Admin:
    """The routes under /admin/api, each for the token alone.

    Raises:
        UsageError: when made, if the token is short enough to be guessed.
    """

    def __init__(self, desk: Desk, token: str, wrong: Rate) -> None:
        if len(token) < SHORTEST:
            raise UsageError(f"an admin token has {SHORTEST} characters or more; `openssl rand -hex 16` makes one")
        self._desk, self._token, self._wrong = desk, token.encode(), Buckets(wrong)

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/admin/api", dependencies=[Depends(self._known)])
        router.add_api_route("/progress", self._progress)
        router.add_api_route("/answers.csv", self._answers)
        router.add_api_route("/identities.csv", self._identities)
        router.add_api_route("/raters/{rater}", self._export)
        router.add_api_route("/raters/{rater}", self._erase, methods=["DELETE"])
        return router

    async def _known(self, request: Request) -> None:
        """Whoever guesses too often is not even compared with; the right token costs nothing."""
        where = address(request)
        within(self._wrong.wait(where))
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode("latin-1"), self._token):
            take(self._wrong, where)
            raise Refused(401, "this needs the admin token that the server was started with")

    async def _progress(self) -> Response:
        return JSONResponse(await self._desk.do(self._desk.progress))

    async def _answers(self) -> Response:
        return _file("answers.csv", await asyncio.to_thread(lambda: as_csv(self._desk.database.answers())))

    async def _identities(self) -> Response:
        return _file(
            "identities.csv", await asyncio.to_thread(lambda: identities_csv(self._desk.database.identities()))
        )

    async def _export(self, rater: str) -> Response:
        if not rater.isalnum():  # no name of ours, and PostgreSQL takes no NUL
            raise Refused(404, "no such rater")
        try:
            return JSONResponse(await asyncio.to_thread(self._desk.database.export, rater))
        except UsageError as error:
            raise Refused(404, "no such rater") from error

    async def _erase(self, rater: str) -> Response:
        return JSONResponse(await self._desk.do(lambda c: self._desk.erase(c, rater)))


def _file(name: str, data: bytes) -> Response:
    return Response(data, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type="text/csv")
