"""docs/api.md says what the code does."""

from pathlib import Path

import docs.reference
from framemesh.rpc.status import CODES
from gateway.access import ROLES

PAGE = Path(docs.reference.__file__).with_name("api.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1]
    lines = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def test_every_method_is_listed_with_its_role() -> None:
    told = {f"/framemesh.v1.{method}": role for method, role, _ in rows("Methods")}
    assert told == {method: role.name.lower() for method, role in ROLES.items()}


def test_every_error_is_listed_with_its_code() -> None:
    told = {(reason, code) for code, reason, _ in rows("Errors")}
    assert told == {(kind.reason, code.name) for kind, code in CODES.items()}
