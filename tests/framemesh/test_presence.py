import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TypeVar

import pytest
import structlog
from google.protobuf.message import Message
from nats.aio.msg import Msg

from framemesh.bus import Bus, connect, encoding, loglines, presence
from framemesh.bus.loglines import LogLines
from framemesh.bus.presence import Presence
from framemesh.mesh.servers import free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from framemesh.service import running
from framemesh.telemetry import logs
from framemesh.v1.service_pb2 import LogLine, ServicePresence
from tests.conftest import CREDENTIALS
from tests.gateway.conftest import until

M = TypeVar("M", bound=Message)


@asynccontextmanager
async def heard(bus: Bus, subject: str, kind: Callable[[], M]) -> AsyncIterator[list[M]]:
    """What goes by on a subject during the block."""
    found: list[M] = []

    async def take(message: Msg) -> None:
        told = encoding.load(message.data, kind())
        assert told is not None
        found.append(told)

    subscription = await bus.client.subscribe(subject, cb=take)
    await bus.client.flush()
    yield found
    await subscription.unsubscribe()


@pytest.fixture
def logging_as_a_service() -> Iterator[None]:
    """Logs as services configure them, put back afterwards: other tests capture theirs."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    logs.configure("info", service="painter", stream=StringIO())
    structlog.contextvars.clear_contextvars()  # of gateways that other tests ran in this process
    structlog.configure(**{**structlog.get_config(), "cache_logger_on_first_use": False})  # cached ones stay painters
    yield
    structlog.configure(**before)
    logging.getLogger().handlers = handlers
    logging.captureWarnings(capture=False)


async def test_a_service_is_heard_while_it_runs_and_says_that_it_goes(bus: Bus) -> None:
    async with heard(bus, presence.SUBJECTS, ServicePresence) as told:
        async with running(Presence(bus, "painter"), drain_seconds=20):
            await until(lambda: told, seconds=60)
            assert (told[0].service, told[0].instance, told[0].ending) == ("painter", presence.instance(), False)
        await until(lambda: told[-1].ending, seconds=60)
    assert {one.start_time.ToNanoseconds() for one in told} == {told[0].start_time.ToNanoseconds()}


@pytest.mark.usefixtures("logging_as_a_service")
async def test_what_a_service_logs_goes_by_with_its_model_and_facts_but_no_traceback_nor_every_frame(bus: Bus) -> None:
    log = structlog.get_logger()
    async with heard(bus, loglines.SUBJECTS, LogLine) as told, running(LogLines(bus, model="vit"), drain_seconds=20):
        await asyncio.sleep(0)  # so that it listens
        log.info("canvas.primed", size_bytes=7)
        log.info("stroke.done", frame_id="gate-1")
        log.warning("paint.thin", model="lake://models/vit/1", words="<script>" + "x" * 1000)
        try:
            int("blue")
        except ValueError:
            log.exception("paint.fault")
        logging.getLogger("brush").warning("worn out")
        await until(lambda: len(told) == 4, seconds=60)
    primed, thin, fault, brush = told
    assert (primed.service, primed.event, primed.level, primed.model) == ("painter", "canvas.primed", "info", "vit")
    assert dict(primed.fields) == {"size_bytes": "7"}
    assert (thin.model, thin.fields["model"]) == ("vit", "lake://models/vit/1")
    assert thin.fields["words"] == ("<script>" + "x" * 1000)[:500]
    assert dict(fault.fields) == {"exception": "ValueError: invalid literal for int() with base 10: 'blue'"}
    assert (brush.event, dict(brush.fields)) == ("worn out", {"logger": "brush"})


@pytest.mark.usefixtures("logging_as_a_service")
async def test_a_flood_of_lines_is_cut_to_the_newest_and_says_how_many_were_left_out(bus: Bus) -> None:
    log = structlog.get_logger()
    async with heard(bus, loglines.SUBJECTS, LogLine) as told, running(LogLines(bus), drain_seconds=20):
        await asyncio.sleep(0)
        for number in range(1000):
            log.info("drop", number=number, model="named")
        await until(lambda: told and told[-1].fields["number"] == "999", seconds=60)
    assert told[0].left_out_count == 1000 - len(told)
    assert {line.model for line in told} == {"named"}
    assert [int(line.fields["number"]) for line in told] == list(range(1000 - len(told), 1000))


@pytest.mark.usefixtures("logging_as_a_service")
async def test_what_is_logged_while_nats_is_away_is_told_once_it_is_back(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    port = free_port()
    await supervisor.start(replace(nats_server(tmp_path, port, CREDENTIALS), name="leaving"))
    async with (
        connect(nats_url(port, CREDENTIALS), name="painter") as bus,
        heard(bus, loglines.SUBJECTS, LogLine) as told,
        running(LogLines(bus), drain_seconds=20),
    ):
        supervisor.restart("leaving")
        await until(lambda: not bus.client.is_connected, seconds=60)
        structlog.get_logger().warning("meanwhile")
        await until(lambda: "meanwhile" in [line.event for line in told], seconds=60)
