"""The dashboard as a web application: a page, an address that tells changes, one that takes requests to stop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import plotly
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from raysubset.dashboard.board import Board
from raysubset.dashboard.guard import LOOPBACK, Guard
from raysubset.errors import OptionsError, RaysubsetError, UnknownNameError

MOST_BODY = 4096  # bytes of a request to stop
FOR_A_DAY = {"cache-control": "private, max-age=86400, immutable"}  # the address carries the version
TYPES = {"js": "text/javascript", "css": "text/css"}


def make_app(board: Board, hosts: Iterable[str] = LOOPBACK, token: str = "") -> ASGIApp:
    """Return the application.

    Args:
        board: The watched runs.
        hosts: Names by which the server may be called, see `Guard`.
        token: What a visitor must know, "" for nothing.
    """
    pages = Pages(board)
    routes = [
        Route("/", pages.page),
        Route("/api/changes", pages.changes),
        Route("/api/stop", pages.stop, methods=["POST"]),
        Route("/static/{name}", pages.static),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=tuple(hosts), token=token)])


class Pages:
    """What the addresses answer.

    Args:
        board: The watched runs.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        environment = Environment(
            loader=PackageLoader("raysubset.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.get_template("page.html.j2")

    def page(self, request: Request) -> Response:
        """Answer the page of a run, with what the first screen says inside; it asks for the trials itself."""
        key = request.query_params.get("run", next(iter(self._board.runs)))
        try:
            told = self._board.overview(key)
        except UnknownNameError as error:
            return Response(str(error), 404, media_type="text/plain")
        return HTMLResponse(
            self._template.render(
                key=key,
                name=self._board.run(key).name,
                several=len(self._board.runs) > 1,
                state=_inside_script(told),
                plotly_version=plotly.__version__,
                page_version=self._board.boot,
            )
        )

    def changes(self, request: Request) -> Response:
        """Answer what changed after a version; see `Board.changes`."""
        asked = request.query_params
        try:
            since = int(asked.get("since", "0"))
            told = self._board.changes(
                asked.get("run", "0"), asked.get("stage", ""), asked.get("shown", ""), asked.get("boot", ""), since
            )
        except ValueError:
            return _refused("since must be a version, an integer", 400)
        except UnknownNameError as error:
            return _refused(str(error), 404)
        return JSONResponse(told)

    async def stop(self, request: Request) -> Response:
        """Take a request to stop a trial or a run."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return _refused("too long", 413)
        try:
            asked = json.loads(body)
            key, stage, trial = (str(asked.get(name, "")) for name in ("run", "stage", "trial"))
        except (ValueError, AttributeError):
            return _refused("a JSON object with run, stage and trial is wanted", 400)
        try:
            await run_in_threadpool(self._board.stop, key, stage, trial)
        except UnknownNameError as error:
            return _refused(str(error), 404)
        except OptionsError as error:
            return _refused(str(error), 409)
        except RaysubsetError as error:
            return _refused(str(error), 500)
        return JSONResponse({"asked": True}, 202)

    def static(self, request: Request) -> Response:
        """Answer a script or the style sheet."""
        name = request.path_params["name"]
        if name == "plotly.js":
            return Response(_plotly(), media_type=TYPES["js"], headers=FOR_A_DAY)
        if name not in ("dashboard.js", "charts.js", "dashboard.css"):
            return _refused(f"no file {name!r}", 404)
        return Response(_own(name), media_type=TYPES[name.rpartition(".")[2]], headers=FOR_A_DAY)


@cache
def _plotly() -> bytes:
    script: str = get_plotlyjs()
    return script.encode()


@cache
def _own(name: str) -> bytes:
    return (files("raysubset.dashboard") / "static" / name).read_bytes()


def _inside_script(plain: dict[str, Any]) -> str:
    """Return JSON that no text in it can turn into markup: it stands in a script element, unescaped."""
    told = json.dumps(plain)
    for character in "<>&":
        told = told.replace(character, f"\\u{ord(character):04x}")
    return told


def _refused(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status)
