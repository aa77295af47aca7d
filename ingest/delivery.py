"""What an agent's cameras share on the way to NATS: connections, the disk for what waits, turns, and being told of."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from framemesh.bus.connection import Login
from framemesh.errors import ConfigurationError
from framemesh.service import running
from ingest.announcing import Announcer
from ingest.buffers import Buffer
from ingest.health import CameraHealth
from ingest.lines import Line
from ingest.metrics import IngestMetrics
from ingest.publishing import Publisher
from ingest.settings import CameraSettings, IngestSettings
from ingest.spooling import Spool

_TURNS = 2
"""Cameras that send from their buffers at once, the others in turn: so live frames of others wait behind few."""
_CONNECT_SECONDS = 2.0
_CLOSE_SECONDS = 5.0
_Key = tuple[str | None, SecretStr | None, Path | None, Path | None]
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_BLOCKS = ("NATS USER JWT", "USER NKEY SEED")


class Delivery:
    """Makes the publisher of each camera. Made by `delivering`."""

    def __init__(self, settings: IngestSettings, metrics: IngestMetrics, lines: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._metrics = metrics
        self._lines = lines
        self._url = settings.nats_url.get_secret_value()
        self._turns = asyncio.Semaphore(_TURNS)
        self._healths: dict[str, CameraHealth] = {}
        self._own: dict[_Key, Line] = {}
        self._key_of: dict[str, _Key] = {}
        self.line = self._started("ingest", partial(agents_login, self._url))
        """The agent's own connection."""

    def publisher(self, camera: CameraSettings) -> Publisher:
        """What delivers a camera's frames; one for each camera at a time."""
        return Publisher(
            self._line(camera),
            self._metrics,
            camera=camera.name,
            max_in_flight=self._settings.max_in_flight,
            buffer=self._buffer(camera),
            health=self._healths.setdefault(camera.name, CameraHealth(camera.name, self._metrics)),
            turns=self._turns,
        )

    def forget(self, camera: str) -> None:
        """A camera is wanted no more, and has ended."""
        self._healths.pop(camera, None)
        self._key_of.pop(camera, None)
        self._close_unused()

    def healths(self) -> list[CameraHealth]:
        """Those of all cameras."""
        return list(self._healths.values())

    def close(self) -> None:
        """Let every connection go."""
        for line in (self.line, *self._own.values()):
            line.stop()

    def _line(self, camera: CameraSettings) -> Line:
        """The connection of the camera's own credentials, which others may share; the agent's where it has none."""
        key = (camera.nats_username, camera.nats_password, camera.nats_password_file, camera.nats_credentials_file)
        self._key_of[camera.name] = key
        self._close_unused()
        if not any(key):
            return self.line
        if key not in self._own:
            self._own[key] = self._started(f"camera {camera.name}", partial(cameras_login, camera))
        return self._own[key]

    def _close_unused(self) -> None:
        for key in self._own.keys() - set(self._key_of.values()):
            self._own.pop(key).stop()

    def _started(self, name: str, login: Callable[[], Login]) -> Line:
        line = Line(name, self._url, login)
        self._lines.create_task(line.run(), name=line.name)
        return line

    def _buffer(self, camera: CameraSettings) -> Callable[[], Buffer] | None:
        if self._settings.spill_folder is None or not camera.spill_bytes:
            return None
        return partial(
            Spool,
            self._settings.spill_folder / camera.name,
            max_bytes=camera.spill_bytes,
            leave_bytes=self._settings.spill_leave_bytes,
            keep=camera.spill_keep,
        )


@asynccontextmanager
async def delivering(settings: IngestSettings, metrics: IngestMetrics) -> AsyncIterator[Delivery]:
    """The way to NATS around the block, whether or not NATS is there."""
    async with asyncio.TaskGroup() as lines:
        delivery = Delivery(settings, metrics, lines)
        await delivery.line.tried(within=_CONNECT_SECONDS)  # else the first frames would wait, and be told of
        try:
            async with running(Announcer(delivery.line, delivery.healths), drain_seconds=_CLOSE_SECONDS):
                yield delivery
        finally:
            delivery.close()


def agents_login(url: str) -> Login:
    """Who the agent itself is: whom the URL names."""
    user = unquote(urlsplit(url.partition(",")[0]).username or "")
    return Login(inbox_prefix=inbox_prefix(user) if _TOKEN.fullmatch(user) else None)


def cameras_login(camera: CameraSettings) -> Login:
    """Who a camera with credentials of its own is. Reads their files.

    Raises:
        ConfigurationError: A file can't be read, or NATS could not have such a user's inbox.
    """
    login = camera.nats_login()
    if login is not None:
        user, password = login
        return Login(
            user, password, None, inbox_prefix(user), f"nats_username and the password of camera {camera.name!r}"
        )
    file, whose = camera.nats_credentials_file, f"camera {camera.name!r}"
    try:
        if file is None or not file.is_file():
            raise ConfigurationError(f"{whose}: nats_credentials_file: there is no file {file}", path=file)
        credentials = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise ConfigurationError(f"{whose}: nats_credentials_file: {file} can't be read: {why}", path=file) from None
    for block in _BLOCKS:
        if f"BEGIN {block}" not in credentials:  # nats-py would seek the first for ever
            raise ConfigurationError(
                f"{whose}: nats_credentials_file: {file} has no {block}: write it anew, by `nsc generate creds`",
                path=file,
            )
    return Login(
        credentials=credentials, inbox_prefix=inbox_prefix(file.stem), setting=f"nats_credentials_file of {whose}"
    )


def inbox_prefix(user: str) -> str:
    """Where a user's receipts come: `_INBOX.<user>`, so that it need not be allowed to hear anybody else's.

    Raises:
        ConfigurationError: The name can't be a part of a NATS subject.
    """
    if not _TOKEN.fullmatch(user):
        raise ConfigurationError(f"{user[:80]!r} can't be a user at NATS with an inbox: use a-z, 0-9, '-' and '_'")
    return f"_INBOX.{user}"
