"""The data lake on any S3 server. PUT, GET, HEAD, LIST and DELETE only, so that every store will do."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from framemesh.errors import ConfigurationError, FrameNotFoundError, LakeUnavailableError
from framemesh.settings import LakeSettings, ModelStoreSettings
from framemesh.telemetry import tracing
from framemesh.waiting import Backoff

log = structlog.get_logger()

_CONNECT_TIMEOUT = timedelta(seconds=2)
_TIMEOUT = timedelta(seconds=10)  # of a whole request, which moves no more than a part or a frame
_RETRY: Any = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
}
_PART_BYTES = 8 * 1024 * 1024
_PAGE = 1000
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_SPACE = re.compile(r"no space left on device|<Code>\w*StorageFull</Code>", re.IGNORECASE)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0
_OWN_BUCKETS = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says of an object."""

    key: str
    size_bytes: int


class Lake:
    """One bucket: of frames, of models, of tables. Belongs to the event loop that it is entered in."""

    def __init__(  # noqa: D417 - the others are what their names say
        self, endpoint: str, *, access_key: str, secret_key: str, region: str, bucket: str, requests: int
    ) -> None:
        """Open nothing yet.

        Args:
            endpoint: The S3 server, as `http://host:port` or `https://host`.
            requests: The most at once; more wait.

        Raises:
            ConfigurationError: The endpoint isn't such a URL.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise ConfigurationError(f"{endpoint!r} is no S3 endpoint: write http://host:port", endpoint=endpoint)
        self._endpoint = endpoint
        self._region = region
        self._room = asyncio.Semaphore(requests)
        self._store = S3Store(
            bucket,
            endpoint=endpoint.rstrip("/"),
            access_key_id=access_key,
            secret_access_key=secret_key,
            region=region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": parts.scheme == "http",
                "connect_timeout": _CONNECT_TIMEOUT,
                "timeout": _TIMEOUT,
            },
            retry_config=_RETRY,
        )

    @classmethod
    def from_settings(cls, settings: LakeSettings, *, bucket: str) -> Self:
        """A bucket of the store that a service is set to."""
        return cls(
            settings.s3_endpoint,
            access_key=settings.s3_access_key.get_secret_value(),
            secret_key=settings.s3_secret_key.get_secret_value(),
            region=settings.s3_region,
            bucket=bucket,
            requests=settings.s3_requests,
        )

    @classmethod
    def of_models(cls, settings: ModelStoreSettings) -> Self | None:
        """The bucket of prepared models; none where the lake isn't set."""
        if settings.s3_endpoint is None or settings.s3_access_key is None or settings.s3_secret_key is None:
            return None
        return cls(
            settings.s3_endpoint,
            access_key=settings.s3_access_key.get_secret_value(),
            secret_key=settings.s3_secret_key.get_secret_value(),
            region=settings.s3_region,
            bucket=settings.s3_models_bucket,
            requests=1,
        )

    async def __aenter__(self) -> Self:
        """Make the bucket if it isn't there.

        Raises:
            ConfigurationError: The server refuses the credentials.
            LakeUnavailableError: The server can't be reached.
        """
        status, _ = await self._ask_bucket("HEAD")
        if status == 404:
            place = f"<LocationConstraint>{self._region}</LocationConstraint>" if self._region != "us-east-1" else ""
            body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>" if place else None
            status, code = await self._ask_bucket("PUT", body=body)
            if code in _OWN_BUCKETS:  # somebody else was quicker
                status = 200
        if status in {401, 403}:
            raise ConfigurationError(
                f"the S3 server at {self._endpoint} refuses us with status {status}; check the S3 keys",
                endpoint=self._endpoint,
            )
        if status != 200:
            raise LakeUnavailableError(f"the S3 server at {self._endpoint} answers with status {status}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held open that would need closing."""

    async def check(self) -> None:
        """Pass where the server answers for the bucket.

        Raises:
            LakeUnavailableError: It doesn't, or not well.
        """
        if (status := await self.status()) != 200:
            raise self._answers(f"with status {status}")

    async def status(self) -> int:
        """The HTTP status that the server answers with for the bucket: 403 where it refuses the keys, 404 without it.

        Raises:
            LakeUnavailableError: It doesn't answer.
        """
        status, _ = await self._ask_bucket("HEAD")
        return status

    async def when_there(self) -> Self:
        """Enter, once the store is there: one that starts late, or is away for a while, is waited for.

        Raises:
            ConfigurationError: The server refuses the credentials, which waiting won't mend.
        """
        backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        while True:
            try:
                return await self.__aenter__()
            except LakeUnavailableError as error:
                log.warning("lake.not_there", error=str(error))
            await asyncio.sleep(backoff.next_seconds())

    async def put(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Store an object whole, over any older one; it is durable when this returns.

        Raises:
            LakeUnavailableError: It may or may not be stored; putting it again is safe.
        """
        attributes: Any = {"Content-Type": content_type, **metadata}
        with tracing.span("put object", kind="CLIENT", size_bytes=len(body)):
            async with self._requesting():
                await obstore.put_async(self._store, key, body, attributes=attributes, use_multipart=False)

    async def get(self, key: str) -> tuple[bytes, Mapping[str, str]]:
        """An object's bytes, and its metadata by lower-case name.

        Raises:
            FrameNotFoundError: There is no such object.
            LakeUnavailableError: The store can't be read now.
        """
        with tracing.span("get object", kind="CLIENT"):
            async with self._requesting():
                found = await obstore.get_async(self._store, key)
                metadata = {name: value for name, value in found.attributes.items() if name.islower()}
                return bytes(await found.bytes_async()), metadata

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file, over any older object, in parts where it is large; it is durable when this returns.

        Raises:
            LakeUnavailableError: It may or may not be stored; putting it again is safe.
            OSError: The file can't be read.
        """
        with path.open("rb") as file:
            async with self._requesting():
                await obstore.put_async(self._store, key, file, chunk_size=_PART_BYTES, max_concurrency=2)

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object into a file, without ever holding all of it.

        Raises:
            FrameNotFoundError: There is no such object.
            LakeUnavailableError: The store can't be read now.
            OSError: The disk can't be written.
        """
        async with self._requesting():
            size = (await obstore.head_async(self._store, key))["size"]
        with path.open("wb") as file:
            for start in range(0, size, _PART_BYTES):
                async with self._requesting():
                    part = await obstore.get_range_async(
                        self._store, key, start=start, end=min(start + _PART_BYTES, size)
                    )
                await asyncio.to_thread(file.write, part)

    async def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix such as `gate/2026/`, in order.

        Raises:
            LakeUnavailableError: The store can't be read now.
        """
        return [found.key for found in await self.objects(prefix)]

    async def objects(self, prefix: str) -> list[StoredObject]:
        """The objects below a prefix, in the order of their keys.

        Raises:
            LakeUnavailableError: The store can't be read now.
        """
        async with self._requesting():
            pages = obstore.list(self._store, prefix, chunk_size=_PAGE)
            return [StoredObject(found["path"], found["size"]) async for page in pages for found in page]

    async def folders(self, prefix: str = "") -> list[str]:
        """The first parts of the keys below a prefix, each with its slash: the cameras, in the bucket of frames.

        Raises:
            LakeUnavailableError: The store can't be read now.
        """
        async with self._requesting():
            found = await obstore.list_with_delimiter_async(self._store, prefix or None)
            return [f"{path}/" for path in found["common_prefixes"]]

    async def delete(self, *keys: str) -> None:
        """Delete objects; those that aren't there are fine.

        Raises:
            LakeUnavailableError: Some may be there still.
        """

        async def one(session: aiohttp.ClientSession, key: str) -> None:
            async with self._room:
                status, code = await self._ask(session, "DELETE", key)
            if status not in {200, 204, 404}:
                raise self._answers(code or str(status))

        async with self._session() as session:
            await asyncio.gather(*(one(session, key) for key in keys))

    def _session(self) -> aiohttp.ClientSession:
        """For what the library doesn't do: decision 0009."""
        limits = aiohttp.ClientTimeout(total=_TIMEOUT.total_seconds(), sock_connect=_CONNECT_TIMEOUT.total_seconds())
        return aiohttp.ClientSession(timeout=limits)

    async def _ask_bucket(self, method: Any, *, body: str | None = None) -> tuple[int, str]:
        async with self._session() as session:
            return await self._ask(session, method, "", body=body)

    async def _ask(
        self, session: aiohttp.ClientSession, method: Any, key: str, *, body: str | None = None
    ) -> tuple[int, str]:
        """HTTP status and S3's error code."""
        url = await obstore.sign_async(self._store, method, key, _TIMEOUT)
        try:
            async with session.request(method, url, data=body) as response:
                return response.status, _code(await response.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    @asynccontextmanager
    async def _requesting(self) -> AsyncIterator[None]:
        """Room for a request, and its errors in our words."""
        async with self._room:
            try:
                yield
            except FileNotFoundError as error:
                if _code(str(error)) == "NoSuchBucket":
                    raise self._answers("NoSuchBucket") from error
                raise FrameNotFoundError(
                    "no frame is stored under that key; results carry the keys of theirs"
                ) from error
            except ValueError as error:  # a key that no object can have
                raise FrameNotFoundError("no frame has such a key; results carry the keys of theirs") from error
            except BaseError as error:
                words = str(error)
                if _NO_SPACE.search(words):
                    raise LakeUnavailableError(
                        f"the S3 server at {self._endpoint} has no space left: free some, or keep frames for less long",
                        endpoint=self._endpoint,
                    ) from error
                code = _code(words)
                raise (self._answers(code) if code else self._unreachable(error)) from error

    def _answers(self, code: str) -> LakeUnavailableError:
        return LakeUnavailableError(f"the S3 server at {self._endpoint} answers {code}", code=code)

    def _unreachable(self, error: Exception) -> LakeUnavailableError:
        silent = isinstance(error, TimeoutError) or "TimedOut" in str(error)
        words = "does not answer in time" if silent else f"can't be reached: {type(error).__name__}"
        return LakeUnavailableError(f"the S3 server at {self._endpoint} {words}", endpoint=self._endpoint)


def _code(answer: str) -> str:
    """The error code in an answer of S3, or in what the library tells of it; empty where there is none."""
    found = _CODE.search(answer)
    return found[1] if found else ""
