"""The lake's tables as pages ask them: off the event loop, and never for long."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from console.tables import SECONDS, TableReader
from console.texts import translator
from console.texts.messages import in_language
from framemesh.errors import DeadlineError, InvalidRequestError, LakeUnavailableError
from framemesh.mesh.servers import free_port
from framemesh.query import LakeTables
from framemesh.settings import LakeSettings
from framemesh.waiting import cancelled
from tests.console.conftest import Mesh
from tests.gateway.conftest import until

ENDLESS = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b"


@pytest.fixture
def settings(mesh: Mesh) -> LakeSettings:
    return LakeSettings(
        s3_endpoint=mesh.variables["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(mesh.variables["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(mesh.variables["FRAMEMESH_S3_SECRET_KEY"]),
    )


@pytest_asyncio.fixture(loop_scope="session")
async def reader(settings: LakeSettings) -> AsyncIterator[TableReader]:
    async with TableReader(settings) as reader:
        yield reader


def one(lake: LakeTables) -> int:
    return int(lake.ask("SELECT 1").rows[0][0])


async def test_a_question_that_takes_too_long_is_stopped(reader: TableReader) -> None:
    ended: list[float] = []

    def endless(lake: LakeTables) -> None:
        try:
            lake.ask(ENDLESS)
        finally:
            ended.append(time.monotonic())

    for _ in range(3):  # more than there are threads: each must come free again
        with pytest.raises(DeadlineError, match="less time") as raised:
            await reader.ask(endless, seconds=0.5)
        assert "초가 넘게 걸렸습니다" in in_language(raised.value, translator("ko"))
    await until(lambda: len(ended) == 3)
    assert await reader.ask(one) == 1


async def test_a_question_whose_page_is_gone_is_stopped(reader: TableReader) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(lake: LakeTables) -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            lake.ask(ENDLESS)
        finally:
            loop.call_soon_threadsafe(ended.set)

    asking = asyncio.create_task(reader.ask(endless))
    await begun.wait()
    asking.cancel()
    async with asyncio.timeout(60):
        await ended.wait()


async def test_long_questions_leave_room_for_quick_ones(reader: TableReader) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(lake: LakeTables) -> None:
        loop.call_soon_threadsafe(begun.set)
        lake.ask(ENDLESS)

    asking = [asyncio.create_task(reader.ask(endless, seconds=2 * SECONDS)) for _ in range(3)]
    await begun.wait()
    assert await reader.ask(one) == 1
    await cancelled(*asking)


async def test_leaving_stops_what_is_asked(settings: LakeSettings) -> None:
    async with TableReader(settings) as reader:
        asking = asyncio.create_task(reader.ask(lambda lake: lake.ask(ENDLESS)))
        await asyncio.sleep(0)
    with pytest.raises(DeadlineError):
        await asking


async def test_what_goes_wrong_comes_out(reader: TableReader, settings: LakeSettings) -> None:
    with pytest.raises(InvalidRequestError, match="lable"):
        await reader.ask(lambda lake: lake.ask("SELECT lable FROM results"))
    away = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
    async with TableReader(away) as nothing:
        with pytest.raises(LakeUnavailableError, match="can't be read"):
            await nothing.ask(one)
