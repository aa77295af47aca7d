"""Who is there: people log in with the mesh's own tokens, and what they may do is their token's role.

A session is a random name in a cookie; its token stays here. Whether the token is still in the file is looked up each
time, so one that is taken back logs its sessions out. The gateway decides on each call nevertheless: it gets the token.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from framemesh.rpc.reloading import Reloaded
from framemesh.rpc.tokens import Role, Token, find, load_tokens

_MAX_SESSIONS = 10_000
_MAX_PLACES = 10_000
_FAILURES = 10
_FAILURES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at a browser.

    Attributes:
        name: Their token's; empty where nobody is asked for one.
        role: What they may do.
        token: For the gateway; none where it wants none.
        session: Name of their session; empty where there are none.
    """

    name: str
    role: Role
    token: str | None = field(repr=False)
    session: str = field(repr=False, default="")

    def may(self, role: Role) -> bool:
        """Whether their role reaches so far."""
        return self.role >= role


ANYBODY = Caller("", Role.ADMIN, None)
"""Whoever comes to a mesh without tokens, where everybody may do everything."""


@dataclass(frozen=True, slots=True)
class _Session:
    token: str = field(repr=False)
    ends: float


class Access:
    """The sessions of a console.

    Args:
        tokens_file: The tokens that let people in; none lets everybody in.
        session_seconds: How long a login lasts.
        on_end: Called with each session that is over.

    Raises:
        ConfigurationError: The file can't be used.
    """

    def __init__(self, tokens_file: Path | None, *, session_seconds: float, on_end: Callable[[str], None]) -> None:
        self._tokens = Reloaded((tokens_file,), partial(load_tokens, tokens_file)) if tokens_file else None
        self._seconds = session_seconds
        self._on_end = on_end
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._failures = Failures()

    @property
    def wanted(self) -> bool:
        """Whether people must log in."""
        return self._tokens is not None

    def caller(self, session: str) -> Caller | None:
        """Who a session belongs to; none where it is unknown or over, or its token was taken back."""
        if self._tokens is None:
            return ANYBODY
        known = self._sessions.get(session)
        if known is None:
            return None
        token = find(self._tokens.now(), known.token) if time.monotonic() < known.ends else None
        if token is None:
            self.log_out(session)
            return None
        return Caller(token.name, token.role, token.value, session)

    def log_in(self, presented: str, place: str) -> Caller | None:
        """Begin a session; none where the token is unknown.

        Args:
            presented: What was typed in.
            place: The address that it came from.
        """
        if self._tokens is None:
            return ANYBODY
        token: Token | None = find(self._tokens.now(), presented.strip())
        if token is None:
            self._failures.note(place, time.monotonic())
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = _Session(token.value, time.monotonic() + self._seconds)
        while len(self._sessions) > _MAX_SESSIONS:
            self.log_out(next(iter(self._sessions)))
        return Caller(token.name, token.role, token.value, session)

    def limits(self, place: str) -> bool:
        """Whether too many unknown tokens came from there lately: one more is told so.

        A known one is let in all the same: behind a proxy everybody comes from one place, and nobody shall keep the
        others out. Tokens are too long to be found by trying.
        """
        return self._failures.too_many(place, time.monotonic())

    def log_out(self, session: str) -> None:
        """End a session; one that isn't there has ended."""
        if self._sessions.pop(session, None) is not None:
            self._on_end(session)


class Failures:
    """Counts what failed lately, by place. The clock is an argument, in seconds."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, place: str, now: float) -> None:
        """One more failure."""
        self._times[place] = [*self._recent(place, now), now][-_FAILURES:]
        self._times.move_to_end(place)
        while len(self._times) > _MAX_PLACES:
            self._times.popitem(last=False)

    def too_many(self, place: str, now: float) -> bool:
        """Whether there were as many as there may be."""
        return len(self._recent(place, now)) >= _FAILURES

    def _recent(self, place: str, now: float) -> list[float]:
        return [then for then in self._times.get(place, []) if then > now - _FAILURES_SECONDS]
