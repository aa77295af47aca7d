"""Requests for analysis, made of what a caller has: bytes, files, stored frames."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from framemesh.errors import FramemeshError, InvalidImageError
from framemesh.limits import check_size
from framemesh.rpc.status import to_answer_error
from framemesh.v1.analysis_service_pb2 import AnalyzeRequest, AnalyzeStreamRequest, AnalyzeStreamResponse
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.frame_pb2 import Frame

Image = bytes | Path
"""An encoded image, or the path of a file that holds one."""
Named = tuple[str, Image | Frame]
"""An image, or a stored frame, with the caller's own id for it."""


def analyze_request(
    image: Image | None, object_key: str | None, models: Iterable[str], options: AnswerOptions | None
) -> AnalyzeRequest:
    """The request for an image, or for a stored frame.

    Raises:
        ImageTooLargeError: The image is over the limit; nothing is sent, nor read from its file.
        ValueError: Both or neither were given.
        OSError: The file can't be read.
    """
    if (image is None) == (object_key is None):
        raise ValueError("give either an image or the object_key of a stored frame")
    request = AnalyzeRequest(models=models, options=options)
    if object_key is not None:
        request.object_key = object_key
    if image is not None:
        check_size(image.stat().st_size if isinstance(image, Path) else len(image))
        request.image = image.read_bytes() if isinstance(image, Path) else image
    return request


class Sending:
    """The requests of one stream as they go out, and those that don't: what is wrong with an image ends no stream."""

    def __init__(self, models: Iterable[str], options: AnswerOptions | None, timeout: float) -> None:
        self._models = list(models)
        self._options = options
        self._timeout = Duration()
        self._timeout.FromNanoseconds(int(timeout * 1e9))
        self._unsent: deque[AnalyzeStreamResponse] = deque()
        self._failure: Exception | None = None

    def requests(self, images: Iterable[Named]) -> Iterator[AnalyzeStreamRequest]:
        """What is sent of them."""
        try:
            for request_id, image in images:
                if request := self._request(request_id, image):
                    yield request
        except Exception as error:  # noqa: BLE001 - the caller's own; gRPC would only log it and cancel
            self._failure = error

    async def requests_async(
        self, images: AsyncIterable[Named] | Iterable[Named]
    ) -> AsyncIterator[AnalyzeStreamRequest]:
        """The same for asyncio."""
        try:
            async for request_id, image in images if isinstance(images, AsyncIterable) else _in_turn(images):
                if request := self._request(request_id, image):
                    yield request
        except Exception as error:  # noqa: BLE001 - as above
            self._failure = error

    def unsent(self) -> Iterator[AnalyzeStreamResponse]:
        """The errors of what was not sent since the last time."""
        while self._unsent:
            yield self._unsent.popleft()

    def finish(self) -> Iterator[AnalyzeStreamResponse]:
        """The last of them.

        Raises:
            Exception: What the caller's own iterator raised.
        """
        yield from self.unsent()
        if self._failure is not None:
            raise self._failure

    def _request(self, request_id: str, image: Image | Frame) -> AnalyzeStreamRequest | None:
        try:
            if isinstance(image, Frame):
                request = analyze_request(None, image.object_key, self._models, self._options)
            else:
                request = analyze_request(image, None, self._models, self._options)
        except (OSError, FramemeshError) as error:
            known = error if isinstance(error, FramemeshError) else unreadable(str(image), error)
            self._unsent.append(AnalyzeStreamResponse(request_id=request_id, error=to_answer_error(known)))
            return None
        return AnalyzeStreamRequest(request_id=request_id, request=request, timeout=self._timeout)


async def _in_turn(images: Iterable[Named]) -> AsyncIterator[Named]:
    for image in images:
        yield image


def unreadable(image: str, error: OSError) -> InvalidImageError:
    """What a file that can't be read amounts to."""
    return InvalidImageError(f"can't read {image!r}: {error.strerror}", image=image)
