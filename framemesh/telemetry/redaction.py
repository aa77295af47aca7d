"""Secrets taken out of what is logged: by how they look, and by what the process itself was told."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

import structlog

STARS = "***"

_LOOKS = re.compile(
    r"""
    (?<=://) (?: [^\s/'"]* | [^\s:/@'"]+ : (?!\d+/)                       # who, in a URL, and the password there; no
      (?: (?!://) [^\s'"] )* ) (?=@)                                      # further than that URL, or many take hours
    | (?<=[?&;]) (?P<name> [\w-]* (?: token | key | pass | password | passwd | pwd | secret | sig | signature | auth
      | credential ) =) [^\s&;'"]+                                        # what cameras and stores take in a query
    | (?P<scheme> \b (?:bearer|basic)\s ) \s* [\w.~+/=-]{8,}              # a header's value
    | (?P<field> \b (?: password | passwd | secret | secret_key | secret_access_key | token ) ['"]? \s? [=:] \s? )
      (?: '[^']+' | "[^"]+" | [^\s,;'")}\]]+ )                            # and what is named as one
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SIGNS = re.compile("[=:]|[Bb]earer|[Bb]asic")  # none of it is found without one, and most values have none
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN$|OTLP(_\w+)?_HEADERS$")
_IN_URL = re.compile(r"://[^\s:/@'\"]*:([^\s'\",]+)@")
_IN_JSON = re.compile(r'"\w*(?:password|secret|token)"\s*:\s*("(?:[^"\\]|\\.)+")')
_LEAST_LENGTH = 6  # shorter ones stand in too many words


class Redaction:
    """A processor for structlog that takes secrets out of an event's values, tracebacks among them.

    Args:
        environment: Whose secrets are taken out wherever they stand: passwords, keys, tokens, and those in URLs.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        known = {form for secret in _secrets(environment) if len(secret) >= _LEAST_LENGTH for form in _forms(secret)}
        longest_first = sorted(known, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if known else None

    def __call__(self, _: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """See structlog's processors."""
        for key, value in event.items():
            if not isinstance(value, _PLAIN) and not key.startswith("_"):  # those are structlog's own
                event[key] = self._value(value)
        return event

    def text(self, text: str) -> str:
        """A text without its secrets."""
        if _SIGNS.search(text) is not None:
            text = _LOOKS.sub(_starred, text)
        return text if self._known is None else self._known.sub(STARS, text)

    def _value(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case bool() | int() | float() | None:
                return value
            case Mapping():
                return {key: self._value(inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(inner) for inner in value]
            case _:
                return self.text(repr(value))


_PLAIN = (bool, int, float, type(None))


def _starred(found: re.Match[str]) -> str:
    return (found["name"] or found["scheme"] or found["field"] or "") + STARS


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if name.startswith(("FRAMEMESH_", "AWS_", "OTEL_")):
            if _SECRET.search(name):
                yield value
            yield from _IN_URL.findall(value)
            yield from (json.loads(text) for text in _IN_JSON.findall(value))


def _forms(secret: str) -> set[str]:
    """How a secret may be written in a line."""
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        unquote(secret),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
    }
