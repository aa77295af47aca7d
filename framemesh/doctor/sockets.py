"""Whether something listens, and what its certificate is worth. These block: call them in threads."""

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from framemesh.doctor.findings import Finding, advice, fine, wrong

SECONDS = 3.0
_SOON_DAYS = 14

Greeting = Callable[[socket.socket], None]
"""What is said in plain text before TLS begins."""


def listening(check: str, host: str, port: int, mend: str) -> Finding:
    """Whether a connection to the port comes about."""
    try:
        with socket.create_connection((host, port), SECONDS):
            return fine(check, f"{host}:{port} takes connections")
    except socket.gaierror as error:
        return wrong(
            check, f"the name {host} leads nowhere: {error.strerror}", "correct it, or the DNS that should know it"
        )
    except TimeoutError:
        return wrong(check, f"{host}:{port} did not answer in {SECONDS:g} s", f"a firewall may be between; else {mend}")
    except OSError as error:
        return wrong(check, f"{host}:{port}: {error.strerror}", mend)


def certificate(
    check: str, host: str, port: int, *, ca_file: Path | None = None, greeting: Greeting | None = None
) -> Finding:
    """Whether the server's certificate would be trusted under this name, and for how long still."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        return wrong(check, f"the CA's file {ca_file} can't be read: {error.strerror}", "correct FRAMEMESH_TLS_CA_FILE")
    context.set_alpn_protocols(["h2", "http/1.1"])
    place = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), SECONDS) as plain:
            if greeting is not None:
                greeting(plain)
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                until = str((encrypted.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        return _untrusted(check, place, error)
    except ssl.SSLError as error:
        words = f"{place} did not speak TLS: {error.reason or error}"
        return wrong(check, words, "name it without TLS (http://, nats://), or turn TLS on there")
    except (OSError, KeyError) as error:
        return wrong(check, f"{place} ended the connection as TLS began: {error}", "see the server's log")
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC) - datetime.now(UTC)
    if left.days < _SOON_DAYS:
        return advice(check, f"the certificate of {place} ends on {until}", "renew it now")
    return fine(check, f"the certificate of {place} holds for {left.days} days more")


def _untrusted(check: str, place: str, error: ssl.SSLCertVerificationError) -> Finding:
    words = f"the certificate of {place} is not trusted: {error.verify_message}"
    if "expired" in error.verify_message:
        return wrong(check, words, "renew it; where it was renewed, the server has yet to read it")
    if "match" in error.verify_message or "not valid for" in error.verify_message:
        return wrong(check, words, "call it by a name that stands in the certificate, or issue one with this name")
    return wrong(
        check, words, "name its authority's file: FRAMEMESH_TLS_CA_FILE for the gateway, SSL_CERT_FILE for NATS and S3"
    )
