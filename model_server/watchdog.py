"""Health that can't lie: whether the model still answers is seen by asking it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from framemesh.waiting import happens
from model_server.batching import Batcher
from model_server.inference import Job

log = structlog.get_logger()

_PERIOD_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0  # with the period, a hung runtime is told within 5 s
_PATIENCE_BATCHES = 10  # of a slow model, how many times what a batch takes


class Watchdog:
    """Asks a model again and again whether it answers; a model that has just answered somebody isn't asked.

    Args:
        model: Its name, for the log.
        batcher: Before the model.
        canary: What it is asked: before all that waits.
        on_change: Told whenever it begins or ceases to answer; it answers when the watching begins.
    """

    name = "watchdog"

    def __init__(self, model: str, batcher: Batcher, canary: Job, on_change: Callable[[bool], Awaitable[None]]) -> None:
        self._model = model
        self._batcher = batcher
        self._canary = canary
        self._on_change = on_change
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Watch until stopped."""
        answering = True
        while not await happens(self._stopping, within=_PERIOD_SECONDS):
            problem = await self._problem()
            if (problem is None) != answering:
                answering = problem is None
                if answering:
                    log.info("model.answers_again", model=self._model)
                else:
                    log.error("model.does_not_answer", model=self._model, error=problem)
                await self._on_change(answering)

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    async def _problem(self) -> str | None:
        """Why the model doesn't answer; None where it does."""
        patience = max(_PATIENCE_SECONDS, _PATIENCE_BATCHES * self._batcher.batch_seconds)
        if self._batcher.busy_seconds() > patience:
            return f"a batch has been under way for over {patience:.3g} s"
        if time.monotonic() - self._batcher.last_success < _PERIOD_SECONDS:
            return None
        try:
            async with asyncio.timeout(patience):
                await self._batcher.probe(self._canary)
        except TimeoutError:
            return f"no answer to a canary within {patience:.3g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the model doesn't answer
            return str(error) or type(error).__name__
        return None
