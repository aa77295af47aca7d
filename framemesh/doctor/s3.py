"""The S3 server: whether it is there, speaks as the endpoint says, lets us in, and keeps what it is given."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import aiohttp

from framemesh.doctor import clocks, sockets
from framemesh.doctor.findings import Finding, advice, fine, wrong
from framemesh.errors import FramemeshError
from framemesh.lake import Lake

_PROBE = ".framemesh-doctor"
_ENDPOINT = "correct FRAMEMESH_S3_ENDPOINT: it is http://host:port, or https://host where the server speaks TLS"


def place(endpoint: str) -> tuple[SplitResult, int]:
    """An endpoint's parts, and its port.

    Raises:
        ValueError: That is none.
    """
    parts = urlsplit(endpoint)
    return parts, parts.port or (443 if parts.scheme == "https" else 80)


def well_formed(endpoint: str) -> Finding:
    """Whether the endpoint is one at all."""
    try:
        parts, _ = place(endpoint)
    except ValueError:  # whose words show what stands where a port belongs: of a URL with a login, the password
        return wrong("S3 endpoint", "the endpoint can't be read: is the port a number?", _ENDPOINT)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.username:
        return wrong(
            "S3 endpoint", f"the endpoint is none: scheme {parts.scheme!r}, host {parts.hostname!r}", _ENDPOINT
        )
    return fine("S3 endpoint", f"{parts.scheme}://{parts.netloc} is an endpoint")


def reachable(endpoint: str) -> Finding:
    """Whether its port takes connections."""
    parts, port = place(endpoint)
    return sockets.listening(
        "S3", parts.hostname or "", port, "start the S3 server there, or correct FRAMEMESH_S3_ENDPOINT"
    )


def encryption(endpoint: str) -> Finding | None:
    """What the certificate is worth; none where the endpoint is in plain text."""
    parts, port = place(endpoint)
    if parts.scheme != "https":
        return None
    return sockets.certificate("S3 TLS", parts.hostname or "", port)


async def speaks_http(endpoint: str) -> tuple[Finding, Finding | None]:
    """Whether what listens answers HTTP, and whether its clock agrees with ours where it says the time."""
    sent = datetime.now(UTC)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=sockets.SECONDS)) as session,
            session.get(endpoint, allow_redirects=False) as response,
        ):
            came, date = datetime.now(UTC), response.headers.get("Date")
            text = (await response.content.read(512)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        words = f"{endpoint} does not answer HTTP: {type(error).__name__}"
        return wrong("S3 protocol", words, _ENDPOINT), None
    if response.status == 400 and "HTTPS" in text:
        return wrong("S3 protocol", f"{endpoint} wants TLS", f"write https://. {_ENDPOINT}"), None
    kind = response.headers.get("Server", "a server that does not say which")
    found = fine("S3 protocol", f"{endpoint} is {kind}")
    there = _time(date)
    if there is None:
        return found, None
    return found, clocks.skew("S3 clock", "the S3 server", sent=sent, there=there, came=came)


def _time(date: str | None) -> datetime | None:
    """What a header `Date` says; none where it says no time."""
    try:
        return None if date is None else parsedate_to_datetime(date).replace(tzinfo=UTC)  # always UTC in HTTP
    except ValueError:
        return None


async def credentials(lake: Lake, bucket: str) -> Finding:
    """Whether the server takes our keys, and has the bucket. A bucket that isn't there is not made here."""
    try:
        status = await lake.status()
    except FramemeshError as error:
        return wrong("S3 keys", str(error), "see the S3 server's log")
    if status in {401, 403}:
        return wrong(
            "S3 keys", f"the server refuses the keys with status {status}", "correct the S3 keys, and what they may do"
        )
    if status == 404:
        return advice("S3 keys", f"the keys work; there is no bucket {bucket!r} yet", "start a gateway: it makes it")
    if status != 200:
        return wrong(
            "S3 keys", f"asked for the bucket {bucket!r}, the server answers {status}", "see the S3 server's log"
        )
    return fine("S3 keys", f"the keys open the bucket {bucket!r}")


async def keeps(lake: Lake) -> Finding:
    """Whether an object can be put, read and deleted."""
    doing = "put"
    try:
        await lake.put(_PROBE, b"framemesh doctor", content_type="text/plain", metadata={})
        doing = "read"
        body, _ = await lake.get(_PROBE)
        if body != b"framemesh doctor":
            return wrong("S3 objects", "an object was read back otherwise than it was put", "see the S3 server's log")
        doing = "delete"
        await lake.delete(_PROBE)
    except FramemeshError as error:
        return wrong(
            "S3 objects",
            f"could not {doing} an object: {error}",
            f"allow the key to {doing} objects, or give the store room",
        )
    return fine("S3 objects", "an object was put, read and deleted")
