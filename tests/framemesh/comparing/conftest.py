"""Lakes with answers of models and corrections of people, written by the real archiver."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus
from framemesh.query import LakePlace
from tests.archiver.conftest import settings
from tests.framemesh.comparing.said import Reply, Word

__all__ = ["settings"]

AT_ONCE = 64

Fill = Callable[[Iterable[Reply | Word]], Awaitable[None]]


@pytest.fixture(scope="module")
def fill(settings: ArchiverSettings, bus: Bus) -> Fill:
    """Puts answers and corrections into the lake's tables, as the gateway and the archiver do."""

    async def put(said: Iterable[Reply | Word]) -> None:
        async with archiver(settings):  # which writes all that there is before it ends
            messages = [each.message() for each in said]
            for start in range(0, len(messages), AT_ONCE):
                few = messages[start : start + AT_ONCE]
                await asyncio.gather(*(bus.publish(subject, body, {}, timeout=30) for subject, body in few))

    return put


@pytest.fixture(scope="module")
def place(settings: ArchiverSettings) -> LakePlace:
    return LakePlace(
        settings.s3_endpoint, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    )
