"""Who may come in. A page on loopback can be called by every web site that the same browser has open, and by every user here.

A random token opens the start page and is changed for a cookie; every answer needs the cookie; what writes needs a second secret that
only our own pages hold. A Host that is a foreign name (DNS rebinding) and a foreign Origin are refused before anything else.
"""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_HEADER = "x-auditor-form"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# A redirect that another page began would not carry the new cookie (SameSite=Strict): our own page goes on.
_ENTER = (
    '<!doctype html><meta http-equiv="refresh" content="0;url=/"><link rel="icon" href="/static/icon.svg"><title>auditor</title>'
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def shown(host: str) -> str:
    """`host` as it stands in an address; this machine's own name where all of its addresses listen."""
    if _is_address(host) and ipaddress.ip_address(host).is_unspecified:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """An ASGI app around another that lets in only who holds the secrets of this run."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self.app = app
        self.token, self.form, self._pass = (secrets.token_urlsafe(32) for _ in range(3))
        # A browser is given its address on a command line that others on this machine can read: that token works once.
        self.once = secrets.token_urlsafe(32)
        # Cookies know no ports: two runs at once must not take each other's.
        self._cookie = f"auditor-{port}"
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, let in by the token, or hand on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await (self._refused(scope) or self.app)(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope) -> ASGIApp | None:
        """The answer to whoever may not come in, or comes in just now; None for all others."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            return PlainTextResponse("421: not the name of this page\n", 421)
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return PlainTextResponse("403: asked by another page\n", 403)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if given and scope["method"] == "GET" and (_equal(given[0], self.token) or _equal(given[0], self.once)):
            if not _equal(given[0], self.token):
                self.once = secrets.token_urlsafe(32)
            return HTMLResponse(_ENTER, headers={"set-cookie": f"{self._cookie}={self._pass}; HttpOnly; SameSite=Strict; Path=/"})
        if not _equal(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""), self._pass):
            return PlainTextResponse("403: open the address that 'auditor view' printed, with its token\n", 403)
        if scope["method"] not in ("GET", "HEAD") and not _equal(headers.get(FORM_HEADER, ""), self.form):
            return PlainTextResponse("403: not sent by this page; reload it\n", 403)
        return None

    def _known(self, host: str) -> bool:
        """Whether a Host header is ours: its port may differ (a tunnel), a name that is not ours may have been rebound."""
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        return name in (self._host, "localhost", "127.0.0.1", "::1") or (not is_loopback(self._host) and _is_address(name))


def _equal(a: str, b: str) -> bool:
    return secrets.compare_digest(a.encode(errors="replace"), b.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
