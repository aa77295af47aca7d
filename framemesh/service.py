"""How every service lives: settings, logs, run until a signal, drain, leave."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import NoReturn, Protocol, TypeVar

import structlog
from pydantic import ValidationError

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError, FramemeshError
from framemesh.leaving import leave
from framemesh.settings import ServiceSettings
from framemesh.telemetry import logs, tracing

log = structlog.get_logger()

Settings = TypeVar("Settings", bound=ServiceSettings)


class Component(Protocol):
    """A part of a service that works until it is stopped."""

    name: str

    async def run(self) -> None:
        """Work until `stop`, then finish what is held and return. An error that comes out ends the service."""

    def stop(self) -> None:
        """Take no new work."""


@asynccontextmanager
async def running(*components: Component, drain_seconds: float) -> AsyncIterator[None]:
    """Run components beside the block. On leaving they finish what they hold; the late are cancelled.

    A component that fails takes its neighbours and the block down. A single error, its or the block's, comes out bare.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(component.run(), name=component.name) for component in components]
            try:
                await asyncio.sleep(0)  # each begins: who tells of log lines hears the block's first one
                yield
            finally:
                for component in reversed(components):
                    component.stop()
                _, late = await asyncio.wait(tasks, timeout=drain_seconds)
                for task in late:
                    log.warning("component.cut", component=task.get_name(), drain_seconds=drain_seconds)
                    task.cancel()
    except BaseExceptionGroup as several:
        errors = list(leaves(several))
        if len(errors) == 1:
            raise errors[0] from None
        raise


@contextmanager
def stop_signals(*, on_second: Callable[[], None] = lambda: None) -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set, inside a running loop. A second signal ends the process at once.

    Args:
        on_second: Called before that end.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            on_second()
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stopping
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def interrupted_by(stopping: asyncio.Event) -> asyncio.Task[None]:
    """Cancel the current task when the event comes, for as long as the returned task lives."""
    current = asyncio.current_task()
    assert current is not None  # noqa: S101 - we are in a coroutine

    async def interrupt() -> None:
        await stopping.wait()
        current.cancel()

    return asyncio.create_task(interrupt())


def main(
    service: str, settings_type: type[Settings], open_service: Callable[[Settings], AbstractAsyncContextManager[object]]
) -> NoReturn:
    """Run a service until SIGTERM or SIGINT, then drain. Exits 0; 78 where the settings can't work; 1 on a fault."""
    try:
        settings = settings_type()
    except ValidationError as error:
        for words in settings_problems(error):
            print(f"{service}: {words}", file=sys.stderr)  # noqa: T201 - logging isn't set up yet
        leave(EXIT_CONFIGURATION)
    logs.configure(settings.log_level, service=service)
    try:
        with tracing.started(service):
            asyncio.run(_run(settings, open_service))
    except (FramemeshError, BaseExceptionGroup) as error:
        problems = list(leaves(error))
        if not all(isinstance(problem, FramemeshError) for problem in problems):
            raise  # a fault of ours: its traceback is what helps
        for problem in problems:
            log.error("service.failed", error=str(problem))  # noqa: TRY400 - its words are all there is to know
        by_user = any(isinstance(problem, ConfigurationError) for problem in problems)
        leave(EXIT_CONFIGURATION if by_user else 1)
    leave(0)


def settings_problems(error: ValidationError) -> list[str]:
    """What is wrong with each variable, without showing its value."""
    problems = []
    for wrong in error.errors(include_url=False, include_input=False):
        words = wrong["msg"].removeprefix("Value error, ")
        name = "_".join(str(part) for part in wrong["loc"]).upper()
        problems.append(f"FRAMEMESH_{name}: {words}" if name else words)
    return problems


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The single errors in a group of groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


async def _run(settings: Settings, open_service: Callable[[Settings], AbstractAsyncContextManager[object]]) -> None:
    with stop_signals() as stopping:
        starting = interrupted_by(stopping)
        try:
            async with open_service(settings):
                starting.cancel()
                log.info("service.started")
                await stopping.wait()
                log.info("service.draining", drain_seconds=settings.drain_seconds)
        except asyncio.CancelledError:
            if not stopping.is_set():
                raise
        finally:
            starting.cancel()
    log.info("service.stopped")
