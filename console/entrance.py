"""Logging in and out: plain HTML, so that it works before anything else does."""

from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.access import Access
from console.guard import COOKIE, LOGIN
from console.metrics import ConsoleMetrics
from console.texts import language_of, marked, translator

_MAX_FORM_BYTES = 8 * 1024
_PAGE = Template((Path(__file__).parent / "static" / "login.html").read_text())


def add_entrance(
    app: FastAPI, access: Access, metrics: ConsoleMetrics, *, session_seconds: float, encrypted: bool
) -> None:
    """Serve `/login`, `/logout` and `/session`, which says to a page whether its login still holds.

    Args:
        app: Where they are served.
        access: Knows the tokens.
        metrics: Counts the tries.
        session_seconds: How long the browser keeps the cookie.
        encrypted: Whether browsers come over TLS alone, so that the cookie never goes in plain text.
    """

    @app.api_route(LOGIN, methods=["GET", "HEAD"])
    async def form(request: Request) -> Response:
        if access.caller(request.cookies.get(COOKIE, "")) is not None:
            return RedirectResponse(_local(request.query_params.get("next", "")), 303)
        return _form(request, request.query_params.get("next", ""))

    @app.post(LOGIN)
    async def log_in(request: Request) -> Response:
        fields = parse_qs(bytes(await _body(request)).decode(errors="replace"))
        token, following = fields.get("token", [""])[0], fields.get("next", [""])[0]
        place = request.client.host if request.client else ""
        limited = access.limits(place)
        caller = access.log_in(token, place)
        metrics.logins.labels("succeeded" if caller else "too_many" if limited else "refused").inc()
        if caller is None:
            words = marked("Too many wrong tokens came from your address. A right one still lets you in.")
            problem = words if limited else marked("The mesh does not know this token.")
            return _form(request, following, problem=problem, status=429 if limited else 403)
        response = RedirectResponse(_local(following), 303)
        response.set_cookie(
            COOKIE, caller.session, max_age=int(session_seconds), httponly=True, samesite="lax", secure=encrypted
        )
        return response

    @app.get("/session")
    async def session() -> Response:
        return Response(status_code=204)  # the guard has let it through

    @app.get("/logout")
    async def stay() -> Response:
        return RedirectResponse("/", 303)  # no link shall log somebody out: the button does

    @app.post("/logout")
    async def log_out(request: Request) -> Response:
        access.log_out(request.cookies.get(COOKIE, ""))
        response = RedirectResponse(LOGIN, 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=encrypted)
        return response


def _form(request: Request, following: str, *, problem: str = "", status: int = 200) -> Response:
    language = language_of(request)
    _t = translator(language)
    words = {
        "language": language,
        "title": _t("Log in"),
        "lead": _t("Your token is the one with which you call the gateway."),
        "token": _t("Token"),
        "button": _t("Log in"),
        "help": _t("None yet? Whoever runs the mesh adds one to its tokens file."),
        "problem": _t(problem) if problem else "",
        "next": _local(following),
        "theme": request.cookies.get("framemesh_theme", ""),
    }
    return HTMLResponse(_PAGE.substitute({name: escape(text) for name, text in words.items()}), status)


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for part in request.stream():
        body.extend(part)
        if len(body) > _MAX_FORM_BYTES:
            break
    return body[:_MAX_FORM_BYTES]


def _local(path: str) -> str:
    """The path if it leads to a page of ours, else the first page: a link must not lead on to another site."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and not path.startswith((LOGIN, "/logout")) else "/"
