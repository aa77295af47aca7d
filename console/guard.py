"""What stands before every request and websocket: whose browser it is, which page sent it, how much it may send.

Browsers say with `Origin` which site a request comes from: whatever changes something, and every websocket, must come
from a page of ours. That is what keeps other sites from using a visitor's cookie; cookies are SameSite besides.
"""

import re
import secrets
from urllib.parse import quote, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access import Access, Caller
from console.metrics import ConsoleMetrics

log = structlog.get_logger()

COOKIE = "framemesh_session"
CALLER = "framemesh.caller"
"""Where a scope has its `Caller`."""
LOGIN = "/login"

_FORM_SLACK_BYTES = 64 * 1024
_OPEN = re.compile(r"/(login|static/.*|favicon\.ico|_nicegui/[^/]+/(static|libraries|components|resources|esm)/.*)")
_ASSETS = "/_nicegui/"
_SAFE = {"GET", "HEAD", "OPTIONS"}
_SCRIPT = re.compile(rb"<script\b")
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' data: blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""`unsafe-eval`, because NiceGUI's Vue compiles its templates in the browser; scripts in markup need the nonce."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def caller_of(connection: HTTPConnection) -> Caller:
    """Who a request is from that the guard has let through."""
    caller: Caller = connection.scope[CALLER]
    return caller


class Guard:
    """ASGI middleware around all that the console serves.

    Args:
        app: What it guards.
        access: Knows the sessions.
        metrics: Counts what is refused.
        hosts: The names under which browsers may come; empty means any.
        max_body_bytes: The largest upload, without what a form adds.
        encrypted: Whether browsers reach the console over TLS alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        metrics: ConsoleMetrics,
        hosts: frozenset[str],
        max_body_bytes: int,
        encrypted: bool,
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._access = access
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes + _FORM_SLACK_BYTES
        self._encrypted = encrypted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        caller = self._access.caller(connection.cookies.get(COOKIE, ""))
        refusal = self._refusal(connection, caller)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, caller, refusal)
        else:
            await self._request(scope, receive, send, caller, refusal)

    def _refusal(self, connection: HTTPConnection, caller: Caller | None) -> Response | None:
        headers, path = connection.headers, connection.scope["path"]  # as routes see it, whatever `Host` says
        changes = connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE
        if self._hosts and _host(headers.get("host", "")) not in self._hosts:
            return self._refuse("host", "this console is not known under that name: see FRAMEMESH_CONSOLE_HOSTS", 421)
        if (changes or path.startswith("/_nicegui_ws/")) and not _same_origin(headers, changes=changes):
            log.warning("request.foreign", path=path, origin=headers.get("origin", ""))
            return self._refuse("origin", "this came from another web site", 403)
        if _length(headers) > self._max_body_bytes:
            return self._refuse("size", f"at most {self._max_body_bytes:,} bytes may be sent", 413)
        if caller is None and not _OPEN.fullmatch(path):
            if not changes and "text/html" in headers.get("accept", ""):
                query = f"?{connection.url.query}" if connection.url.query else ""
                return RedirectResponse(f"{LOGIN}?next={quote(path + query, safe='')}", 303)
            return self._refuse("session", "log in first", 401)
        return None

    def _refuse(self, reason: str, words: str, status: int) -> Response:
        self._metrics.refused.labels(reason).inc()
        return PlainTextResponse(f"refused: {words}\n", status)

    async def _websocket(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller | None, refusal: Response | None
    ) -> None:
        if refusal is not None or caller is None:
            await receive()
            await send({"type": "websocket.close", "code": 4403})
            return
        scope[CALLER] = caller

        async def receive_while_known() -> Message:
            message = await receive()
            if self._access.caller(caller.session) is None:
                return {"type": "websocket.disconnect", "code": 4401}
            return message

        await self.app(scope, receive_while_known, send)

    async def _request(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller | None, refusal: Response | None
    ) -> None:
        nonce = secrets.token_urlsafe(16)
        answer = _guarded(send, scope["path"], nonce, encrypted=self._encrypted)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        scope[CALLER] = caller
        if not scope["path"].startswith(_ASSETS):  # a page that NiceGUI has compressed takes no nonce any more
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        await self.app(scope, _limited(receive, self._max_body_bytes), answer)


def _guarded(send: Send, path: str, nonce: str, *, encrypted: bool) -> Send:
    """Send with our headers, and the nonce on each script of a page: NiceGUI escapes what it puts between them."""
    is_page = False
    start: Message = {}
    body = bytearray()

    async def guarded(message: Message) -> None:
        nonlocal is_page, start
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
            if encrypted:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            if not path.startswith(_ASSETS):  # which have a version in their path
                headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
            is_page = headers.get("content-type", "").startswith("text/html")
            if is_page:  # its length is known once the nonces are in
                start = message
                return
        elif is_page:
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = _SCRIPT.sub(b'<script nonce="%s"' % nonce.encode(), bytes(body))
            MutableHeaders(scope=start)["Content-Length"] = str(len(page))
            await send(start)
            message = {**message, "body": page}
        await send(message)

    return guarded


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """Receive a body up to its limit; one that goes on is cut off, as if its sender had gone."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > max_bytes else message

    return limited


def _same_origin(headers: Headers, *, changes: bool) -> bool:
    """Whether a browser says that the request comes from a page under the name that it asked."""
    origin = headers.get("origin")
    if origin is None:
        return not changes and headers.get("sec-fetch-site", "same-origin") == "same-origin"
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:  # such as `http://[`
        return False


def _length(headers: Headers) -> int:
    """What a body claims to have in bytes; 0 where it doesn't say."""
    claimed = headers.get("content-length", "")
    return int(claimed) if claimed.isascii() and claimed.isdigit() else 0


def _host(header: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
