"""The lake's tables for all who look: a few questions at once, off the event loop, each with an end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, Self, TypeVar

from framemesh.errors import DeadlineError
from framemesh.query import LakePlace, LakeTables, tables
from framemesh.settings import LakeSettings

_AT_ONCE = 2
_MEMORY_BYTES = 512 * 1024 * 1024
"""What each question may take; two of them fit beside the rest of a small machine."""
SECONDS = 30.0
"""What each may take unless it says otherwise."""
_AGAIN_SECONDS = 0.1

Answer = TypeVar("Answer")


class TableReader:
    """Asks the tables, around a block; leaving it stops what is being asked.

    Args:
        settings: Where the lake is.
    """

    def __init__(self, settings: LakeSettings) -> None:
        self._place = LakePlace(
            settings.s3_endpoint,
            settings.s3_access_key.get_secret_value(),
            settings.s3_secret_key.get_secret_value(),
            settings.s3_region,
            settings.s3_frames_bucket,
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lake-tables")
        self._asked: set[_Question] = set()
        self._long = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._asked:
            for question in list(self._asked):
                self._stop(question)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def ask(self, question: Callable[[LakeTables], Answer], *, seconds: float = SECONDS) -> Answer:
        """The question's answer. Cancelling the wait stops the work too.

        Args:
            question: Called in a thread with the tables of the files that are there now.
            seconds: How long it may take, waiting for its turn included.

        Raises:
            ConfigurationError: The store refuses the keys.
            DeadlineError: It took too long.
            InvalidRequestError: It needs more memory than it may have.
            LakeUnavailableError: The lake can't be read now.
        """
        # Those that may take long are asked one at a time, so that a thread is left for the others.
        turn = self._long if seconds > SECONDS else nullcontext()
        try:
            async with asyncio.timeout(seconds), turn:
                return await self._answer(question)
        except TimeoutError:
            raise DeadlineError(
                f"the lake's tables took more than {seconds:.0f} s: ask for fewer cameras or less time"
            ) from None

    async def _answer(self, question: Callable[[LakeTables], Answer]) -> Answer:
        asked = _Question(self._place)
        self._asked.add(asked)
        work = asked.work = self._threads.submit(asked.run, question)
        try:
            return await asyncio.wrap_future(work)
        finally:
            self._stop(asked)

    def _stop(self, asked: "_Question") -> None:
        """Interrupt it until it has ended: one that comes just before a statement begins is lost on it."""
        if asked.work is None or asked.work.done():
            self._asked.discard(asked)
            return
        asked.interrupt()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._stop, asked)


class _Question:
    """One question in its thread."""

    def __init__(self, place: LakePlace) -> None:
        self.work: Future[Any] | None = None
        self._place = place
        self._lock = threading.Lock()
        self._tables: LakeTables | None = None
        self._interrupted = False

    def run(self, question: Callable[[LakeTables], Answer]) -> Answer:
        with tables(self._place, memory_bytes=_MEMORY_BYTES) as found, self._interruptible(found):
            return question(found)

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted = True
            if self._tables is not None:
                self._tables.interrupt()

    @contextmanager
    def _interruptible(self, found: LakeTables) -> Iterator[None]:
        with self._lock:
            self._tables = found
            if self._interrupted:
                found.interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._tables = None
