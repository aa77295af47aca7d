"""A comparison as a page of its own: HTML with its pictures inside, or Markdown with them in a folder beside."""

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from framemesh.comparing.comparison import Comparison, Disagreement
from framemesh.comparing.telling import disagreement, headline, tables
from framemesh.words import printable

_ROWS = 30
_MARKDOWN = re.compile(r"([\\`*_\[\]|<>~&])")


def html(found: Comparison, pictures: Mapping[str, bytes], *, console_url: str = "") -> str:
    """A page that needs nothing else: no script, no style sheet, no picture from elsewhere.

    Args:
        found: What to tell.
        pictures: JPEGs of frames by object key; those without one have none.
        console_url: Where the mesh's console is, which frames then link to.
    """
    inside = {key: f"data:image/jpeg;base64,{b64encode(body).decode()}" for key, body in pictures.items()}
    return _rendered("report.html", found, inside, console_url)


def markdown(found: Comparison, pictures: Mapping[str, str], *, console_url: str = "") -> str:
    """A page in GitHub's Markdown.

    Args:
        found: What to tell.
        pictures: Paths of pictures of frames, from where the page is, by object key.
        console_url: As of `html`.
    """
    return _rendered("report.md", found, pictures, console_url)


def _rendered(template: str, found: Comparison, pictures: Mapping[str, str], console_url: str) -> str:
    """Every value is escaped: models' class names and cameras' keys are words that somebody else wrote."""
    page = Environment(
        loader=PackageLoader("framemesh.comparing", "templates"),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=printable_text if template.endswith(".html") else in_markdown,
    )
    page.filters["time"] = _time
    page.filters["address"] = lambda value: _Address(quote(value, safe="/:"))
    page.globals["words_of"] = disagreement
    return page.get_template(template).render(
        found=found,
        headline=headline(found),
        tables=list(tables(found, limit=_ROWS)),
        pictures=pictures,
        link_of=lambda each: _link(each, console_url),
    )


class _Address(str):
    """A path or a URL, which has nothing to escape any more."""

    __slots__ = ()


def printable_text(value: object) -> object:
    """A value in a page: text without what nobody can see."""
    return printable(value) if type(value) is str else value


def in_markdown(value: object) -> object:
    """A value in Markdown: text in one line, with nothing in it that Markdown or HTML would take for its own."""
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(value.split()))) if type(value) is str else value


def _link(told: Disagreement, console_url: str) -> str:
    return f"{console_url.rstrip('/')}/lake/{told.frame_id}" if console_url else ""


def _time(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
