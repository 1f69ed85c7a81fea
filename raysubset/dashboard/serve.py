"""Serve the dashboard: on loopback, or elsewhere with a token."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import uvicorn

from raysubset.dashboard.app import make_app
from raysubset.dashboard.board import Board
from raysubset.dashboard.guard import LOOPBACK
from raysubset.errors import OptionsError

PORT = 8270
TOKEN_FORM = re.compile(r"[A-Za-z0-9._~-]{12,200}")
MAY_FINISH_S = 2  # what an answer under way has when the server ends


def serve(
    folders: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    started: Callable[[str], None],
) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        folders: Of the runs to watch.
        host: Name or address to bind.
        port: To bind, 0 for any that is free.
        token: What a visitor must know. None: nothing on loopback, a fresh one elsewhere.
        started: Told the address to open, the token in it, once the server listens.

    Raises:
        OptionsError: The address or port cannot be bound, or the token is too short or has other than A-Z a-z 0-9
            . _ ~ - in it.
    """
    if token is not None and not TOKEN_FORM.fullmatch(token):
        raise OptionsError(
            "--token needs 12 to 200 of the characters A-Z a-z 0-9 . _ ~ - (leave it out for a fresh one)."
        )
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    with bound(host, port) as listening:
        board = Board(folders)
        app = make_app(board, {*LOOPBACK, host}, token or "")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=MAY_FINISH_S
        )
        started(address(listening, host, token))
        uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Say whether an address or name is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OptionsError: It cannot be bound; says why and what would do.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen()
        except OSError:
            listening.close()
            raise
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionsError(
            f"Cannot listen on {host}, port {port}: {why}. Another dashboard? --port 0 takes a free one."
        ) from error
    return listening


def address(listening: socket.socket, host: str, token: str | None) -> str:
    """Return the address to open; of a server bound everywhere, with this machine's name."""
    port = listening.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token)}" if token else "")
