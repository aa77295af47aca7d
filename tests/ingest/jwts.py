"""A NATS operator with one account and its users, as NATS's own `nsc` makes them: each key signs for the next."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import nkeys

_SYSTEM_LIMITS = {
    "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
}  # fmt: skip
_ACCOUNT_LIMITS = {**_SYSTEM_LIMITS, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class Operator:
    """Makes a server's configuration, and credentials that it accepts."""

    def __init__(self) -> None:
        self._own = _key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = _key(nkeys.PREFIX_BYTE_ACCOUNT)
        self._system = _key(nkeys.PREFIX_BYTE_ACCOUNT)

    def configuration(self) -> str:
        """What the server's configuration has in place of users and passwords."""
        own = _token("operator", self._own, self._own, {"system_account": _public(self._system)})
        limits = ((self._account, _ACCOUNT_LIMITS), (self._system, _SYSTEM_LIMITS))
        accounts = {_public(key): _token("account", key, self._own, {"limits": limit}) for key, limit in limits}
        return f"operator: {own}\nresolver: MEMORY\nresolver_preload: {json.dumps(accounts)}\n"

    def write_credentials(self, path: Path, permissions: Mapping[str, list[str]] | None = None) -> Path:
        """A `.creds` file of a new user, who may do everything or what is said."""
        user = _key(nkeys.PREFIX_BYTE_USER)
        allowed = permissions or {"publish": [">"], "subscribe": [">"]}
        claims = {
            "pub": {"allow": allowed["publish"]}, "sub": {"allow": allowed["subscribe"]},
            "subs": -1, "data": -1, "payload": -1,
        }  # fmt: skip
        token = _token("user", user, self._account, claims)
        seed = user.seed.decode()
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        return path


def _key(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(secrets.token_bytes(32), prefix)))


def _public(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode().rstrip("=")


def _token(kind: str, subject: nkeys.KeyPair, signer: nkeys.KeyPair, claims: Mapping[str, object]) -> str:
    said = {
        "jti": secrets.token_hex(16),
        "iat": int(time.time()),
        "iss": _public(signer),
        "name": kind,
        "sub": _public(subject),
        "nats": {**claims, "type": kind, "version": 2},
    }
    parts = [_encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, said)]
    signed = ".".join(parts)
    return f"{signed}.{_encoded(signer.sign(signed.encode()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
