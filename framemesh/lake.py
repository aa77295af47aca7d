"""The data lake on any S3 server. PUT, GET, HEAD, LIST and DELETE only, so that every store will do."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from framemesh.errors import ConfigurationError, FrameNotFoundError, LakeUnavailableError

_T = TypeVar("_T")

# A store that hangs must not hold a thread for minio's own default of half an hour.
_TIMEOUT = urllib3.Timeout(connect=2.0, read=10.0)
_RETRY = urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
_REFUSALS = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


class Lake:
    """One bucket, of frames or of models. Requests run in threads of its own; share it, never across processes."""

    def __init__(  # noqa: D417 - the others are what their names say
        self, endpoint: str, *, access_key: str, secret_key: str, region: str, bucket: str, threads: int
    ) -> None:
        """Open nothing yet.

        Args:
            endpoint: The S3 server, as `http://host:port` or `https://host`.

        Raises:
            ConfigurationError: The endpoint isn't such a URL.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise ConfigurationError(f"{endpoint!r} is no S3 endpoint: write http://host:port", endpoint=endpoint)
        self._endpoint = endpoint
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lake")
        self._http = urllib3.PoolManager(maxsize=threads + 4, timeout=_TIMEOUT, retries=_RETRY)
        self._minio = Minio(
            parts.netloc,
            access_key=access_key,
            secret_key=secret_key,
            region=region,  # unset, the first request asks the server for it
            secure=parts.scheme == "https",
            http_client=self._http,
        )

    async def __aenter__(self) -> Self:
        """Make the bucket if it isn't there.

        Raises:
            ConfigurationError: The server refuses the credentials.
            LakeUnavailableError: The server can't be reached.
        """
        try:
            await self._run(self._ensure_bucket)
        except LakeUnavailableError as error:
            self._close()
            if error.values.get("code") in _REFUSALS:
                raise ConfigurationError(f"{error}; check the S3 keys", **error.values) from error
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    async def put(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]) -> None:
        """Store an object whole, over any older one; it is durable when this returns.

        Raises:
            LakeUnavailableError: It may or may not be stored; putting it again is safe.
        """
        await self._run(
            lambda: self._minio.put_object(
                bucket_name=self._bucket,
                object_name=key,
                data=BytesIO(body),
                length=len(body),
                content_type=content_type,
                metadata=dict(metadata),
            )
        )

    async def get(self, key: str) -> tuple[bytes, Mapping[str, str]]:
        """An object's bytes, and its metadata by lower-case name.

        Raises:
            FrameNotFoundError: There is no such object.
            LakeUnavailableError: The store can't be read now.
        """
        return await self._run(lambda: self._get(key))

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file, over any older object, in parts where it is large; it is durable when this returns.

        Raises:
            LakeUnavailableError: It may or may not be stored; putting it again is safe.
            OSError: The file can't be read.
        """
        await self._run(lambda: self._minio.fput_object(bucket_name=self._bucket, object_name=key, file_path=str(path)))

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object into a file, without ever holding all of it.

        Raises:
            FrameNotFoundError: There is no such object.
            LakeUnavailableError: The store can't be read now, or the disk can't be written.
        """
        await self._run(lambda: self._minio.fget_object(bucket_name=self._bucket, object_name=key, file_path=str(path)))

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, in order.

        Raises:
            LakeUnavailableError: The store can't be read now.
        """
        return await self._run(lambda: list(self._keys(prefix)))

    def _ensure_bucket(self) -> None:
        if not self._minio.bucket_exists(bucket_name=self._bucket):
            self._minio.make_bucket(bucket_name=self._bucket)

    def _get(self, key: str) -> tuple[bytes, Mapping[str, str]]:
        response = self._minio.get_object(bucket_name=self._bucket, object_name=key)
        try:
            prefix = "x-amz-meta-"
            metadata = {name.lower(): value for name, value in response.headers.items()}
            own = {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}
            return response.read(), own
        finally:
            response.close()
            response.release_conn()

    def _keys(self, prefix: str) -> Iterator[str]:
        for found in self._minio.list_objects(bucket_name=self._bucket, prefix=prefix, recursive=True):
            yield str(found.object_name)

    async def _run(self, request: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, request)
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchObject"}:
                raise FrameNotFoundError(
                    "no frame is stored under that key; results carry the keys of theirs"
                ) from error
            raise LakeUnavailableError(
                f"the S3 server at {self._endpoint} answers {error.code}: {error.message}", code=error.code
            ) from error
        except ValueError as error:  # minio's own check of names
            raise FrameNotFoundError("no frame has such a key; results carry the keys of theirs") from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise LakeUnavailableError(
                f"the S3 server at {self._endpoint} can't be reached: {type(error).__name__}", endpoint=self._endpoint
            ) from error

    def _close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.clear()
