"""The lake's tables for all who look: a few questions at once, off the event loop, each with an end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from framemesh.errors import DeadlineError
from framemesh.query import LakePlace, LakeTables, tables
from framemesh.settings import LakeSettings

_AT_ONCE = 2
_MEMORY_BYTES = 512 * 1024 * 1024
"""What each question may take; two of them fit beside the rest of a small machine."""
_SECONDS = 30.0

Answer = TypeVar("Answer")


class TableReader:
    """Asks the tables. Closing it interrupts what is being asked.

    Args:
        settings: Where the lake is.
    """

    def __init__(self, settings: LakeSettings) -> None:
        self._place = LakePlace(
            settings.s3_endpoint,
            settings.s3_access_key.get_secret_value(),
            settings.s3_secret_key.get_secret_value(),
            settings.s3_region,
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lake-tables")
        self._asked: set[_Question] = set()

    def close(self) -> None:
        """Interrupt what is asked."""
        for question in self._asked:
            question.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, question: Callable[[LakeTables], Answer]) -> Answer:
        """The question's answer. Cancelling the wait stops the work too.

        Args:
            question: Called in a thread with the tables of the files that are there now.

        Raises:
            ConfigurationError: The store refuses the keys.
            DeadlineError: It took too long.
            InvalidRequestError: It needs more memory than it may have.
            LakeUnavailableError: The lake can't be read now.
        """
        asked: _Question = _Question(self._place)
        self._asked.add(asked)
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, asked.run, question)
        except TimeoutError:
            raise DeadlineError(
                f"the lake's tables took more than {_SECONDS:.0f} s: ask for fewer cameras or less time"
            ) from None
        finally:
            self._asked.discard(asked)
            asked.stop()


class _Question:
    """One question in its thread; whoever asked may stop it at any time."""

    def __init__(self, place: LakePlace) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._tables: LakeTables | None = None
        self._stopped = False

    def run(self, question: Callable[[LakeTables], Answer]) -> Answer:
        with tables(self._place, memory_bytes=_MEMORY_BYTES) as found, closing(self):
            with self._lock:
                self._tables = found
                if self._stopped:
                    found.interrupt()
            return question(found)

    def close(self) -> None:
        """The tables are about to go."""
        with self._lock:
            self._tables = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._tables is not None:
                self._tables.interrupt()
