"""Digests of files, which tell weights apart and damage from wholeness."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def of_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits. Takes about 1 s a gigabyte.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(paths: Iterable[Path]) -> dict[str, str]:
    """Digest by name of files in one folder, by name in order.

    Raises:
        OSError: A file can't be read.
    """
    return {path.name: of_file(path) for path in sorted(paths)}


def version_of(paths: Iterable[Path]) -> str:
    """`sha256-` and 32 digits, which tell files in one folder from all others: their names and contents count.

    Raises:
        OSError: A file can't be read.
    """
    listing = "".join(f"{digest}  {name}\n" for name, digest in of_files(paths).items())
    return f"sha256-{hashlib.sha256(listing.encode()).hexdigest()[:32]}"
