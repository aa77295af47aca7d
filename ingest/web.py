"""Cameras' web servers: how one gets in, and the pictures of those that give one a request."""

import contextlib
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import urljoin

from framemesh.errors import ConfigurationError, FramemeshError, ImageTooLargeError, SourceUnavailableError
from framemesh.frames import NANOSECONDS
from framemesh.limits import MAX_IMAGE_BYTES
from ingest import troubles
from ingest.pictures import picture_of
from ingest.settings import CameraSettings
from ingest.shots import Shot, Timing

_TIMESTAMP = re.compile(r"\d{9,10}(?:\.\d{1,9})?")


class Door:
    """Where a camera's web server is, and how one gets in: Basic or Digest, whichever it asks for.

    Raises:
        ConfigurationError: The file with the password can't be read.
    """

    def __init__(self, camera: CameraSettings) -> None:
        self._url = camera.source
        self.shown = camera.place
        self.wait_seconds = camera.stall_seconds
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # a camera is next door
        if camera.source.startswith("https:") and not camera.verify_tls:
            handlers.append(urllib.request.HTTPSHandler(context=_trusting()))
        if (login := camera.login()) is not None:
            known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
            known.add_password(None, urljoin(camera.source, "/"), *login)
            handlers += [urllib.request.HTTPBasicAuthHandler(known), urllib.request.HTTPDigestAuthHandler(known)]
        self._opener = urllib.request.build_opener(*handlers)

    def open(self) -> http.client.HTTPResponse:
        """Ask for the source.

        Raises:
            SourceUnavailableError: It can't be reached, or has nothing at present.
            ConfigurationError: It refuses the login, or the URL is wrong.
        """
        request = urllib.request.Request(self._url, headers={"Accept": "multipart/x-mixed-replace, image/*, */*"})  # noqa: S310 - checked by the settings
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self.wait_seconds)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refused(error.code) from None
        except urllib.error.URLError as error:
            raise self.told(error.reason if isinstance(error.reason, Exception) else error) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self.told(error) from None
        return response

    def told(self, error: Exception) -> FramemeshError:
        """What went wrong on the way, in words for people."""
        if isinstance(error, TimeoutError):
            return troubles.unanswered(self.shown, self.wait_seconds)
        if isinstance(error, socket.gaierror):
            return troubles.no_host(self.shown)
        if isinstance(error, ConnectionRefusedError):
            return troubles.not_listening(self.shown)
        if isinstance(error, ConnectionError | http.client.IncompleteRead):
            return troubles.ended(self.shown)
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"source {self.shown}: its certificate isn't trusted here ({error.verify_message}): give it one that "
                "is, or set verify_tls: false"
            )
        words = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return SourceUnavailableError(f"source {self.shown}: {words}")

    def _refused(self, code: int) -> FramemeshError:
        if code in {401, 403}:
            return troubles.login_refused(self.shown)
        if code in {404, 410}:
            return troubles.nothing_there(self.shown)
        return SourceUnavailableError(f"source {self.shown}: it answers {code}")


class SnapshotSource:
    """A URL that has the camera's present picture, asked for again and again.

    Args:
        door: Where to ask.
        response: The first answer.
    """

    timing = Timing.PACED

    def __init__(self, door: Door, response: http.client.HTTPResponse) -> None:
        self.patience_seconds: float | None = 2 * door.wait_seconds
        self._door = door
        self._response: http.client.HTTPResponse | None = response

    def read(self) -> Shot:
        """The present picture.

        Raises:
            InvalidImageError: It isn't a sound picture.
            ImageTooLargeError: It is over `framemesh.limits`.
            SourceUnavailableError: There is none at present.
            ConfigurationError: The login is refused, or the path is gone.
        """
        response = self._response or self._door.open()
        self._response = None
        try:
            body = _whole(response)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._door.told(error) from None
        finally:
            hang_up(response)
        return Shot(picture_of(body), timestamp_ns({name.lower(): value for name, value in response.headers.items()}))

    def close(self) -> None:
        """Hang up."""
        if self._response is not None:
            hang_up(self._response)


def _whole(response: IO[bytes]) -> bytes:
    body = response.read(MAX_IMAGE_BYTES + 1)
    if len(body) > MAX_IMAGE_BYTES:
        raise ImageTooLargeError(f"the picture has over {MAX_IMAGE_BYTES:,} bytes: have the camera send a smaller one")
    return body


def timestamp_ns(words: dict[str, str]) -> int | None:
    """When the picture was taken, by a header in Unix seconds that some cameras send."""
    found = _TIMESTAMP.fullmatch(words.get("x-timestamp", ""))
    if found is None:
        return None
    seconds, _, rest = found[0].partition(".")
    return int(seconds) * NANOSECONDS + int(rest.ljust(9, "0"))


def hang_up(response: http.client.HTTPResponse) -> None:
    """Close the connection, whatever state it is in."""
    with contextlib.suppress(OSError):
        response.close()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
