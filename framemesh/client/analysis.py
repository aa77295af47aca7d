"""Questions about images, and results as they come."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

import grpc

from framemesh.client.parts import AsyncPart, Part, reporting_errors
from framemesh.sending import Image, Named, Sending, analyze_request
from framemesh.v1.analysis_service_pb2 import AnalyzeResponse, AnalyzeStreamResponse, WatchResultsRequest
from framemesh.v1.analysis_service_pb2_grpc import AnalysisServiceStub
from framemesh.v1.answer_pb2 import AnswerOptions
from framemesh.v1.result_pb2 import Result

ANALYZE_SECONDS = 10.0


class AsyncAnalysis(AsyncPart):
    """`AnalysisService`, for asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._analysis = AnalysisServiceStub(channel)

    async def analyze(
        self,
        image: Image | None = None,
        *,
        object_key: str | None = None,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """Ask models about an image, or about a stored frame.

        Args:
            image: A JPEG, PNG or WebP file's bytes, or its path.
            object_key: Key of a stored frame, instead of an image.
            models: Who is asked; none means all.
            options: What is wanted of the answers: how many classes, which labels, the least score, persons' boxes.
            timeout: Seconds that it may take in all.
        """
        request = analyze_request(image, object_key, models, options)
        return await self._ask(self._analysis.Analyze, request, timeout)

    async def analyze_stream(
        self,
        images: AsyncIterable[Named] | Iterable[Named],
        *,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AsyncIterator[AnalyzeStreamResponse]:
        """Ask models about many images, some of them at once, and yield what becomes of each as soon as it is known.

        An image that can't be read or analysed has its error in its own response, and the others go on. Images are
        taken from the iterator only as fast as they are answered.

        Args:
            images: Each with an id of the caller's, which its response carries: a JPEG, PNG or WebP file's bytes, its
                path, or a stored frame as results carry it (only its `object_key` counts).
            models: As in `analyze`.
            options: As in `analyze`.
            timeout: Seconds that each image may take.
        """
        sending = Sending(models, options, timeout)
        call = self._analysis.AnalyzeStream(sending.requests_async(images))
        try:
            with reporting_errors():
                async for response in call:
                    for unsent in sending.unsent():
                        yield unsent
                    yield response
            for unsent in sending.finish():
                yield unsent
        finally:
            call.cancel()

    async def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> AsyncIterator[Result]:
        """Yield results as they come, until the caller stops; none of `models` or `cameras` means all of them."""
        with reporting_errors():
            async for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result


class Analysis(Part):
    """`AnalysisService`, for threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__(channel)
        self._analysis = AnalysisServiceStub(channel)

    def analyze(
        self,
        image: Image | None = None,
        *,
        object_key: str | None = None,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> AnalyzeResponse:
        """See `AsyncClient.analyze`."""
        request = analyze_request(image, object_key, models, options)
        return self._ask(self._analysis.Analyze, request, timeout)

    def analyze_stream(
        self,
        images: Iterable[Named],
        *,
        models: Iterable[str] = (),
        options: AnswerOptions | None = None,
        timeout: float = ANALYZE_SECONDS,
    ) -> Iterator[AnalyzeStreamResponse]:
        """See `AsyncClient.analyze_stream`; `images` is asked for more in a thread of its own."""
        sending = Sending(models, options, timeout)
        call = self._analysis.AnalyzeStream(sending.requests(images))
        try:
            with reporting_errors():
                for response in call:
                    yield from sending.unsent()
                    yield response
            yield from sending.finish()
        finally:
            call.cancel()

    def watch_results(self, *, models: Iterable[str] = (), cameras: Iterable[str] = ()) -> Iterator[Result]:
        """See `AsyncClient.watch_results`."""
        with reporting_errors():
            for response in self._analysis.WatchResults(WatchResultsRequest(models=models, cameras=cameras)):
                yield response.result
