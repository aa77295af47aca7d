"""Tokens: who may call what. A TOML file has a table for each, under a name that logs may show.

Such an entry is `[dashboard]` on a line of its own, `role = "read"` (or `"analyse"`, `"label"`, `"admin"`), and
`token = "..."` of at least 32 characters, such as `openssl rand -hex 32` prints.
"""

import hashlib
import hmac
import re
import tomllib
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from framemesh.errors import ConfigurationError
from framemesh.names import is_label

MIN_LENGTH = 32
"""Characters of a token: what a machine makes up, not what a person remembers."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750's b64token


class Role(IntEnum):
    """What the bearer of a token may do; each role may do what those before it may."""

    READ = 1
    ANALYSE = 2
    LABEL = 3
    ADMIN = 4


ROLES = {role.name.lower(): role for role in Role}
"""By the name that stands in the file."""


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the file. The token itself is not in its `repr`."""

    name: str
    role: Role
    value: str = field(repr=False)
    digest: bytes = field(repr=False)


def load_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file; an empty one lets nobody in.

    Raises:
        ConfigurationError: It can't be read, or an entry is wrong; the message names the entry and never a token.
    """
    try:
        entries = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"can't read the tokens in {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = re.search(r"at (line \d+, column \d+|end of document)", str(error))  # its words may quote the line
        raise ConfigurationError(f"{path} is not TOML: see {where.group(1) if where else 'its encoding'}") from None
    tokens = tuple(_token(path, number, *entry) for number, entry in enumerate(entries.items(), start=1))
    by_digest: dict[bytes, str] = {}
    for token in tokens:
        twin = by_digest.setdefault(token.digest, token.name)
        if twin != token.name:
            raise ConfigurationError(f"{path}: [{twin}] and [{token.name}] have the same token; make up another")
    return tokens


def find(tokens: tuple[Token, ...], presented: str) -> Token | None:
    """The token that was presented, if there is such a one.

    Every entry is compared, in a time that does not depend on how much of it is right.
    """
    digest = _digest(presented)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def is_token(text: str) -> bool:
    """Whether a text can be sent as a token at all."""
    return _TOKEN.fullmatch(text) is not None


def _token(path: Path, number: int, name: str, entry: object) -> Token:
    # What stands where a name, a role or a key should may be a token: only a name that is one is repeated.
    if not is_label(name):
        raise ConfigurationError(
            f"{path}: entry {number} has an unusable name: take 1 to 63 of a-z, 0-9 and '-', with no '-' at either end"
        )

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{path}: [{name}] {what}", entry=name)

    if not isinstance(entry, dict) or entry.keys() - {"role", "token"}:
        raise wrong(f"can't be read: write [{name}] on a line of its own, then role = and token =, and nothing else")
    role, value = entry.get("role"), entry.get("token")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"has no role of those there are: choose one of {', '.join(ROLES)}")
    if not isinstance(value, str) or len(value) < MIN_LENGTH or not is_token(value):
        raise wrong(
            f"has no usable token: it takes at least {MIN_LENGTH} letters, digits or any of -._~+/=, such as "
            "`openssl rand -hex 32` prints"
        )
    return Token(name, ROLES[role], value, _digest(value))


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
