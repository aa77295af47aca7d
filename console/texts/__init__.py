"""The words that people read: English as it stands in the code, Korean from the catalogues in `ko/`."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.requests import HTTPConnection

LANGUAGES = {"en": "English", "ko": "한국어"}
"""By their code, each by its own name."""
COOKIE = "framemesh_language"

Translate = Callable[..., str]
"""Takes an English text and the values for its `{places}`; gives the text in the visitor's language."""


def catalogue(language: str) -> dict[str, str]:
    """Every text that has a translation, by the English; empty for English."""
    words: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / language).glob("*.json")):
        words |= json.loads(path.read_text())
    return words


_CATALOGUES = {language: catalogue(language) for language in LANGUAGES}


def marked(text: str) -> str:
    """The text itself: says to the test of catalogues that it is translated elsewhere."""
    return text


def translator(language: str) -> Translate:
    """What translates into a language. Only our own texts are formats; values may hold anything."""
    words = _CATALOGUES[language]

    def translate(text: str, /, **values: object) -> str:
        found = words.get(text, text)
        return found.format(**values) if values else found

    return translate


def language_of(connection: HTTPConnection) -> str:
    """The language that a visitor chose, or else the first of their browser's that we have."""
    chosen = connection.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    for part in connection.headers.get("accept-language", "").split(","):
        code = part.partition(";")[0].strip().lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return "en"
