"""Dead letters listed, shown and retried, through the gateway and on the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from framemesh.bus import Bus, streams
from framemesh.cli import app
from framemesh.client import AsyncClient
from framemesh.errors import (
    DeadLetterNotFoundError,
    FramemeshError,
    InternalError,
    InvalidImageError,
    InvalidRequestError,
    ModelUnavailableError,
)
from framemesh.frames import CAPTURED_AT, FRAME_ID, FrameId, headers
from framemesh.v1.answer_pb2 import AnswerState
from framemesh.v1.dead_letter_service_pb2 import DeadLetterFilter, KeptDeadLetter
from framemesh.v1.frame_pb2 import StoredFrame
from gateway.app import gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Results, deploy, publish, serving_model, stored_all, until
from tests.pictures import jpeg


@pytest.fixture(autouse=True)
async def empty(client: AsyncClient, bus: Bus) -> None:
    """No dead letters when a test begins."""
    await until(lambda: stored_all(bus))
    await bus.js.purge_stream(streams.DEADLETTERS)


class Cli:
    """`framemesh deadletters` against a gateway of its own: commands block, so it has another thread."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def __call__(self, *words: str, code: int = 0) -> str:
        argv = ["deadletters", words[0], *words[1:], "--address", self._address]
        result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "200"}).invoke, app, argv)
        failed = isinstance(result.exception, FramemeshError)  # `main` makes it a line and this code
        assert (1 if failed else result.exit_code) == code, result.output
        return result.output


@pytest.fixture(scope="module")
async def cli(settings: GatewaySettings) -> AsyncIterator[Cli]:
    async with gateway(settings) as running:
        yield Cli(f"127.0.0.1:{running.grpc_port}")


async def letters(client: AsyncClient, count: int, **wanted: str) -> list[KeptDeadLetter]:
    """Wait until there are so many, and return them."""

    async def there() -> list[KeptDeadLetter] | None:
        found = await client.dead_letters(DeadLetterFilter(**wanted))
        return found if len(found) >= count else None

    found: list[KeptDeadLetter] = await until(there)
    assert len(found) == count
    return found


async def retry(client: AsyncClient, which: int | DeadLetterFilter) -> list[tuple[int, str]]:
    """Each retried number with the reason of its refusal."""
    return [(tried.number, tried.error.reason) async for tried in client.retry_dead_letters(which)]


async def test_the_newest_come_first_without_bodies_and_filters_narrow_them_down(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "picky") as model:
        model.fails = lambda _: InvalidImageError("damaged in the middle")
        await deploy(client, bus, "picky=x,policy=every")
        await publish(bus, "one", b"no image")
        await publish(bus, "two", jpeg(1))
        await publish(bus, "two", b"none either")
        found = await letters(client, 3)
    assert [kept.number for kept in found] == sorted((kept.number for kept in found), reverse=True)
    assert all(not kept.dead_letter.body and kept.dead_letter.message for kept in found)
    assert len(await client.dead_letters(limit=1)) == 1
    assert {kept.dead_letter.subject for kept in await letters(client, 1, camera="one")} == {"frames.one"}
    assert {kept.dead_letter.frame.camera for kept in await letters(client, 1, model="picky")} == {"two"}
    assert await client.dead_letters(DeadLetterFilter(reason="SERVER_LOST")) == []
    refused = (await client.dead_letters(DeadLetterFilter(camera="one")))[0]
    assert (await client.dead_letter(refused.number)).dead_letter.body == b"no image"
    with pytest.raises(InvalidRequestError, match="limit"):
        await client.dead_letters(limit=1001)
    await client.delete("picky")


async def test_a_refused_frame_is_published_again_under_its_own_identity(client: AsyncClient, bus: Bus) -> None:
    frame_id = await publish(bus, "again", b"no image", sequence=7)
    first = (await letters(client, 1))[0]
    assert await retry(client, first.number) == [(first.number, "")]
    second = (await letters(client, 1))[0]  # refused again, within NATS's window for duplicates
    assert second.number > first.number
    assert second.dead_letter.frame == first.dead_letter.frame
    assert (second.dead_letter.frame.frame_id, second.dead_letter.frame.camera_sequence) == (str(frame_id), 7)
    assert await retry(client, DeadLetterFilter(camera="again")) == [(second.number, "")]
    assert (await letters(client, 1))[0].number > second.number


async def test_a_retried_frame_that_is_good_is_stored_as_what_it_was(client: AsyncClient, bus: Bus) -> None:
    frame_id = FrameId("mended", 1_767_225_600_000_000_000)
    names = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=3)
    names |= {FRAME_ID: str(frame_id), "Nats-Msg-Id": f"{frame_id}/retry/1", CAPTURED_AT: "2026-01-01T00:00:01Z"}
    await bus.publish("frames.mended", jpeg(), names, timeout=60)
    await until(lambda: stored_all(bus))
    last = await bus.js.get_last_msg(streams.STORED, "stored.mended")
    stored = StoredFrame.FromString(last.data or b"")
    assert (stored.frame.frame_id, stored.frame.camera_sequence) == (str(frame_id), 3)
    assert stored.frame.capture_time.ToJsonString() == "2026-01-01T00:00:01Z"


async def test_a_retry_that_fails_leaves_the_letter_and_one_that_succeeds_replaces_the_failed_result(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "moody") as model:
        model.fails = lambda _: InternalError("a bad day")
        await deploy(client, bus, "moody=x,policy=every")
        sent = str(await publish(bus, "mood", jpeg()))
        (kept,) = await letters(client, 1, model="moody")
        await until(lambda: results.of("moody"))
        assert await retry(client, kept.number) == [(kept.number, "INTERNAL")]
        assert [one.number for one in await letters(client, 1)] == [kept.number]
        model.fails = lambda _: None
        assert await retry(client, DeadLetterFilter(model="moody")) == [(kept.number, "")]
        assert await client.dead_letters() == []
        with pytest.raises(DeadLetterNotFoundError, match="deadletters list"):
            await retry(client, kept.number)  # a second retry finds nothing to do
        assert await retry(client, DeadLetterFilter(model="moody")) == []
    await until(lambda: len(results.of("moody")) == 2)
    failed, replaced = results.of("moody")
    assert failed.answer.state == AnswerState.ANSWER_STATE_FAILED
    assert replaced.answer.state == AnswerState.ANSWER_STATE_SUCCEEDED
    assert (replaced.frame.frame_id, replaced.retried_dead_letter) == (sent, kept.number)
    assert failed.answer_time.ToNanoseconds() < replaced.answer_time.ToNanoseconds()  # the newest counts in the lake
    await client.delete("moody")


async def test_a_model_that_is_gone_or_has_no_server_accepts_no_retry(client: AsyncClient, bus: Bus) -> None:
    async with serving_model(bus, "short") as model:
        model.fails = lambda _: InvalidImageError("no")
        await deploy(client, bus, "short=x,policy=every")
        await publish(bus, "brief", jpeg())
        (kept,) = await letters(client, 1)

    async def reason() -> str:
        return (await retry(client, kept.number))[0][1]

    async def becomes(wanted: str) -> bool:
        return await reason() == wanted

    await until(lambda: becomes(ModelUnavailableError.reason))
    await client.delete("short")
    await until(lambda: becomes("MODEL_NOT_FOUND"))
    await letters(client, 1)


async def test_hostile_names_and_foreign_messages_break_neither_lists_nor_retries(
    client: AsyncClient, bus: Bus, cli: Cli
) -> None:
    await bus.js.publish("frames.\x1b[31mred\x07", b"no image")
    await bus.js.publish("deadletters.a.b.c", b"\xff" * 40)
    await bus.js.publish("deadletters.x", b"", headers={"Framemesh-Dead-Letter": "!!! no base64"})
    await letters(client, 3)
    foreign = await letters(client, 2, reason="UNREADABLE")
    assert (await client.dead_letter(foreign[1].number)).dead_letter.body == b"\xff" * 40
    assert sorted(reason for _, reason in await retry(client, DeadLetterFilter())) == [
        "INVALID_NAME", "INVALID_REQUEST", "INVALID_REQUEST",
    ]  # fmt: skip
    shown = await cli("list")
    assert "\x1b[31mred" not in shown
    assert "\x07" not in shown
    assert "\\x1b[31mred" in shown
    for kept in await letters(client, 3):
        assert "\x1b" not in await cli("show", str(kept.number))


async def test_all_of_it_on_the_command_line(client: AsyncClient, bus: Bus, cli: Cli, tmp_path: Path) -> None:
    assert "no dead letters" in await cli("list")
    await publish(bus, "cmd", b"no image")
    (kept,) = await letters(client, 1)
    number = str(kept.number)
    assert "INVALID_IMAGE" in await cli("list", "--camera", "cmd")
    assert json.loads(await cli("list", "--json"))["number"] == number
    assert "frames.cmd" in await cli("show", number, "--body", str(tmp_path / "body"))
    assert (tmp_path / "body").read_bytes() == b"no image"
    assert "1 accepted, 0 not" in await cli("retry", number)
    await letters(client, 1)
    assert "1 accepted, 0 not" in await cli("retry", "--all", "--reason", "INVALID_IMAGE")
    await cli("show", "999999", code=1)
    await cli("retry", code=2)
    await cli("retry", number, "--all", code=2)
