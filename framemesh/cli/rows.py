"""Rows of the lake's tables as commands print them."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from framemesh.words import printable

if TYPE_CHECKING:  # a client may be installed without what it needs
    from framemesh.query import Rows

_GAP = "  "
_LONGEST = 200


def show(found: "Rows", *, as_json: bool, least: int | None = None) -> None:
    """Print rows as a table, or as one JSON document a line.

    What is wider than the terminal is printed record by record; or, where the first `least` columns will do, without
    the last ones. Words are never broken, so that keys can be copied. Programs that read along get whole lines.
    """
    if as_json:
        for values in found.dicts():
            typer.echo(json.dumps(values, default=_plain, ensure_ascii=False))
        return
    if not found.rows:
        typer.echo("nothing found")
        return
    console = Console()
    rows = [[_short(value) for value in row] for row in found.rows]
    widths = [max(map(cell_len, column)) for column in zip(found.columns, *rows, strict=True)]
    shown = _columns_that_fit(widths, console.width, least) if console.is_terminal else len(widths)
    if not shown:
        _print_records(console, found.columns, rows)
        return
    _print_table(console, found.columns, rows, widths[:shown])
    if shown < len(widths):
        more = ", ".join(found.columns[shown:])
        console.print(Text(f"a wider terminal, or --json, shows {more} too", "dim"), soft_wrap=True)


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], widths: list[int]) -> None:
    for number, row in enumerate((columns, *rows)):
        padded = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=False))
        console.print(Text(_GAP.join(padded).rstrip(), "" if number else "bold"), soft_wrap=True)


def _print_records(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    margin = max(map(cell_len, columns))
    for number, row in enumerate(rows):
        if number:
            console.print()
        for column, cell in zip(columns, row, strict=True):
            console.print(Text.assemble((set_cell_size(column, margin), "bold"), _GAP, cell), soft_wrap=True)


def _columns_that_fit(widths: list[int], room: int, least: int | None) -> int:
    """How many columns to print side by side: all, or at least `least`; none where it would have to be all."""
    for shown in range(len(widths), least or len(widths) - 1, -1):
        if sum(widths[:shown]) + len(_GAP) * (shown - 1) <= room:
            return shown
    return least or 0


def _short(value: Any) -> str:
    """A value in a table: one line, not too long."""
    match value:
        case None:
            text = ""
        case float():
            text = f"{value:.6g}"
        case datetime():
            text = f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
        case list() | dict():
            text = json.dumps(_brief(value), default=_plain, ensure_ascii=False)
        case _:
            text = str(_plain(value))
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _brief(value: Any) -> Any:
    """A nested value without what it lacks, and with four digits of each number."""
    match value:
        case list():
            return [_brief(one) for one in value]
        case dict():
            return {key: _brief(one) for key, one in value.items() if one is not None}
        case float():
            return float(f"{value:.4g}")
        case _:
            return value


def _plain(value: Any) -> Any:
    """What JSON has no word for; times as RFC 3339."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case _:
            return str(value)
