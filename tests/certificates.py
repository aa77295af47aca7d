"""Certificates that tests make."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """A server's certificate and key, and the authority that signed it, as files."""

    cert: Path
    key: Path
    ca: Path


def issue(folder: Path, *names: str, ends: datetime | None = None) -> Pair:
    """A new certificate, of a new authority, in place of the folder's last one."""
    pair = Pair(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1",)), not_after=ends)
    pair.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    pair.key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(pair.ca))
    return pair
