"""Who may look, and who may act: checks that stand before every answer of the dashboard's server.

- The Host header must name this server: a page of another site whose name is made to point here (DNS rebinding)
  is turned away. With a token any name will do, since that page would not have the token.
- The token, where there is one, comes in the first address (then in a cookie of this server alone) or as a Bearer.
- A request that changes something must come from our own page: its Origin must be this server.
- Every answer forbids its page to load or send anything elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Middleware around the application.

    Args:
        app: What is guarded.
        hosts: Names that the Host header may have.
        token: What a visitor must know, "" for nothing.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = LOOPBACK, token: str = "") -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the place of the application, or let it answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._token and _name(host) not in self._hosts:
            return PlainTextResponse(f"This server does not answer to the name {host!r}.", 421)
        if self._token and (answer := self._without_token(scope, headers)) is not None:
            return answer
        if scope["method"] not in ("GET", "HEAD") and urlsplit(headers.get("origin", "")).netloc != host:
            return PlainTextResponse("Only this server's own page may ask that.", 403)
        return None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return what to answer who does not show the token, or shows it in the address; None to go on."""
        cookie = f"raysubset-{scope['server'][1] if scope.get('server') else 0}"
        if self._is_token(_cookie(headers, cookie)):
            return None
        bearer = headers.get("authorization", "")
        if bearer.lower().startswith("bearer ") and self._is_token(bearer[7:].strip()):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and self._is_token(dict(query).get("token", "")):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            here = "/" + scope["path"].lstrip("/")  # two slashes would lead to another server
            answer = RedirectResponse(here + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(cookie, self._token, httponly=True, samesite="strict")
            return answer
        return PlainTextResponse("This dashboard wants its token: open the address that it printed.", 401)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _name(host: str) -> str:
    """Return a Host header's name, without its port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
