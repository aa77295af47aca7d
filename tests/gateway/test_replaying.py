"""Replays on a real gateway, counted from the stream of results."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing

import grpc
import pytest

from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.client import AsyncClient
from framemesh.errors import (
    InternalError,
    InvalidImageError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelUnavailableError,
    QueueFullError,
)
from framemesh.frames import FrameId, object_key
from framemesh.lake import Lake
from framemesh.v1.answer_pb2 import AnswerState, InferenceTiming
from framemesh.v1.inference_service_pb2 import Priority
from framemesh.v1.replay_service_pb2 import ArchivedTable, ReplayRequest, ReplayResponse
from framemesh.v1.result_pb2 import DeadLetter, Result
from gateway.app import gateway
from gateway.replaying import at_once, busy_seconds, rest_share
from gateway.settings import GatewaySettings
from tests.gateway.conftest import deploy, publish, serving_model, until
from tests.gateway.mortal import mortal_server
from tests.pictures import jpeg

FIRST_NS = 1_780_000_000_000_000_000


def picture(number: int) -> bytes:
    return jpeg(number * 16)  # neighbouring colours may encode alike


async def stored(lake: Lake, camera: str, count: int) -> list[str]:
    """Frames of the past, as the gateway stores them."""
    keys = [object_key(FrameId(camera, FIRST_NS + number), "image/jpeg") for number in range(count)]
    metadata = {"captured-at": "2026-05-28T20:26:40Z", "width-px": "64", "height-px": "48", "camera-sequence": "7"}
    for number, key in enumerate(keys):
        await lake.put(key, picture(number), content_type="image/jpeg", metadata=metadata)
    return keys


async def told(bus: Bus, model: str) -> list[Result]:
    """Every result of a model that the stream holds."""
    newest = (await bus.js.stream_info(streams.RESULTS)).state.last_seq
    found = [Result.FromString(message.data) async for message in between(bus, streams.RESULTS, 1, newest)]
    return [result for result in found if result.answer.model == model]


async def replay(client: AsyncClient, model: str, keys: list[str], **options: bool | float) -> ReplayResponse:
    """Run to the end, and return what was said last."""
    return [response async for response in client.replay(model, keys, **options)][-1]  # type: ignore[arg-type]


async def test_each_frame_gets_the_answer_that_a_live_one_gets(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    keys = await stored(lake, "past", 200)
    await deploy(client, bus, "plain=x,camera=none")
    async with serving_model(bus, "plain") as model:
        last = await replay(client, "plain", keys)
    assert (last.succeeded_count, last.failed_count, last.gone_count, last.waiting_reason) == (200, 0, 0, "")
    found = await told(bus, "plain")
    assert Counter(result.frame.object_key for result in found) == Counter(keys)
    assert {request.priority for request in model.requests} == {Priority.PRIORITY_REPLAY}
    assert all(result.replayed and result.answer.state == AnswerState.ANSWER_STATE_SUCCEEDED for result in found)
    frame = found[0].frame
    assert (frame.camera, frame.width_px, frame.camera_sequence, frame.capture_time.seconds) == (
        "past", 64, 7, FIRST_NS // 10**9,
    )  # fmt: skip


async def test_the_same_frames_again_change_nothing_unless_asked(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    keys = await stored(lake, "twice", 20)
    await deploy(client, bus, "twice=x,camera=none")
    async with serving_model(bus, "twice"):
        for _ in range(2):
            assert (await replay(client, "twice", keys)).succeeded_count == 20
            assert len(await told(bus, "twice")) == 20
        await replay(client, "twice", keys, again=True)
    assert Counter(result.frame.object_key for result in await told(bus, "twice")) == Counter(keys * 2)


async def test_a_frame_that_its_server_dies_of_is_given_up_and_those_beside_it_are_answered(
    nats: str, client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    keys = await stored(lake, "deadly", 12)
    await deploy(client, bus, "frail=x,camera=none")
    async with mortal_server(nats, "frail", delay=0.05, poison=picture(5)) as server:
        last = await replay(client, "frail", keys)
        await until(lambda: server.deaths >= 3)  # the gateway may have heard of the last one first
        assert server.deaths == 3  # once in company, twice alone
    assert (last.succeeded_count, last.failed_count, last.gone_count) == (11, 1, 0)
    (failed,) = [result for result in await told(bus, "frail") if result.answer.HasField("error")]
    assert (failed.frame.object_key, failed.answer.error.reason) == (keys[5], "SERVER_LOST")


async def test_frames_that_can_not_be_answered_are_counted_and_dead_lettered(
    client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    keys = await stored(lake, "bad", 12)
    await lake.delete(keys[3])
    await lake.put(keys[4], b"no image", content_type="image/jpeg", metadata={})
    tries = Counter[bytes]()

    def fails(image: bytes) -> Exception | None:
        tries[image] += 1
        if image == picture(5):
            return InvalidImageError("damaged in the middle")
        if image == picture(6):
            return InternalError("always")
        return QueueFullError("full") if tries[image] < 3 else None

    await deploy(client, bus, "picky=x,camera=none")
    async with serving_model(bus, "picky") as model:
        model.fails = fails
        last = await replay(client, "picky", [*keys, "nonsense", "../x"])
    assert (last.succeeded_count, last.failed_count, last.gone_count) == (8, 3, 3)
    assert tries[picture(6)] == 3
    failed = {result.frame.object_key: result.answer.error.reason for result in await told(bus, "picky")}
    assert {key: failed[key] for key in keys[4:7]} == dict(
        zip(keys[4:7], ("INVALID_IMAGE", "INVALID_IMAGE", "INTERNAL"), strict=True)
    )
    assert keys[3] not in failed
    newest = (await bus.js.stream_info(streams.DEADLETTERS)).state.last_seq
    letters = [DeadLetter.FromString(each.data) async for each in between(bus, streams.DEADLETTERS, 1, newest)]
    assert Counter(letter.frame.object_key for letter in letters if letter.model == "picky") == Counter(keys[4:7])


async def test_an_answer_too_large_to_keep_is_a_failed_result_and_ends_nothing(
    client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    keys = await stored(lake, "wordy", 2)
    await deploy(client, bus, "wordy=x,camera=none")
    async with serving_model(bus, "wordy") as model:
        model.text = "x" * (9 << 20)
        last = await replay(client, "wordy", keys)
    assert (last.succeeded_count, last.failed_count, last.gone_count) == (0, 2, 0)
    assert {result.answer.error.reason for result in await told(bus, "wordy")} == {"IMAGE_TOO_LARGE"}


async def test_it_waits_for_servers_that_come_and_says_so(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    keys = await stored(lake, "later", 10)
    await deploy(client, bus, "later=x,camera=none")
    said: list[ReplayResponse] = []

    async def run() -> None:
        async for response in client.replay("later", keys):
            said.append(response)  # noqa: PERF401 - as it comes

    running = asyncio.create_task(run())
    await until(lambda: any("no server of model 'later'" in response.waiting_reason for response in said))
    async with serving_model(bus, "later"):
        await running
    assert (said[-1].succeeded_count, said[-1].waiting_reason) == (10, "")


async def test_a_model_that_is_not_deployed_or_no_longer_ends_it(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    keys = await stored(lake, "nobody", 3)
    with pytest.raises(ModelNotFoundError, match="no model 'nobody'"):
        await replay(client, "nobody", keys)
    await deploy(client, bus, "brief=x,camera=none")
    running = asyncio.create_task(replay(client, "brief", keys))
    await asyncio.sleep(0.3)
    await client.delete("brief")
    with pytest.raises(ModelNotFoundError, match="no model 'brief'"):
        await running


async def test_a_message_with_too_many_keys_ends_it(settings: GatewaySettings, client: AsyncClient, bus: Bus) -> None:
    await deploy(client, bus, "many=x,camera=none")
    requests = [ReplayRequest(model="many", object_keys=["x"] * 1001)]
    with pytest.raises(grpc.RpcError) as refusal:
        _ = [response async for response in client._replay.Replay(iter(requests))]
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("share", [-0.5, 0.001, 1.5, float("nan")])
async def test_what_is_no_share_is_refused(client: AsyncClient, bus: Bus, share: float) -> None:
    await deploy(client, bus, "shared=x,camera=none")
    with pytest.raises(InvalidRequestError, match="share"):
        await replay(client, "shared", [], share=share)


async def test_a_caller_that_leaves_ends_it(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    keys = await stored(lake, "left", 100)
    await deploy(client, bus, "left=x,camera=none")
    async with serving_model(bus, "left") as model:
        model.delay = 0.2
        async with aclosing(client.replay("left", keys)) as responses:
            async for response in responses:
                if response.succeeded_count:
                    break
        await until(lambda: quiet(model.requests))
        assert len(model.requests) < 100


async def quiet(growing: Sequence[object]) -> bool:
    before = len(growing)
    await asyncio.sleep(1)
    return len(growing) == before


async def test_a_gateway_that_stops_answers_what_it_has_and_says_that_it_stops(
    settings: GatewaySettings, bus: Bus, lake: Lake
) -> None:
    keys = await stored(lake, "stop", 300)
    said: list[ReplayResponse] = []
    async with AsyncExitStack() as clients, serving_model(bus, "stop") as model:
        model.delay = 0.01

        async def run(client: AsyncClient) -> None:
            async for response in client.replay("stop", keys):
                said.append(response)  # noqa: PERF401 - as it comes

        async with gateway(settings) as running:
            own = await clients.enter_async_context(AsyncClient(f"127.0.0.1:{running.grpc_port}"))
            await deploy(own, bus, "stop=x,camera=none")
            replaying = asyncio.create_task(run(own))
            await until(lambda: said and said[-1].succeeded_count)
        with pytest.raises(ModelUnavailableError, match="draining"):
            await replaying
        assert 0 < said[-1].succeeded_count < 300
        assert len(await told(bus, "stop")) == said[-1].succeeded_count == len(model.requests)


async def test_live_frames_keep_a_worker_while_a_replay_runs(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    """No more replayed images are at the server at once than the share says; without live ones, as many as it takes."""
    keys = await stored(lake, "beside", 400)
    await deploy(client, bus, "busy=x,policy=every,camera=live")
    async with serving_model(bus, "busy", workers=4) as model:
        model.delay = 0.02
        replaying = asyncio.create_task(replay(client, "busy", keys, share=0.5))
        await until(lambda: model.most_at_once.get(Priority.PRIORITY_REPLAY) == 8)
        await publish(bus, "live", jpeg(1))
        await until(lambda: Priority.PRIORITY_BACKGROUND in model.most_at_once)
        await until(lambda: model.at_once[Priority.PRIORITY_REPLAY] <= 2)
        model.most_at_once.clear()
        began = time.monotonic()
        while time.monotonic() < began + 1:
            await publish(bus, "live", jpeg(1))
            await asyncio.sleep(0.05)
        assert model.most_at_once[Priority.PRIORITY_REPLAY] == 2
        assert (await replaying).succeeded_count == 400


async def test_replayed_frames_that_wait_for_others_leave_the_room_for_live_ones_as_it_is(
    client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    await deploy(client, bus, "roomy=x,policy=every,camera=door")
    async with serving_model(bus, "roomy", workers=2) as model:
        model.timing.queue_duration.FromSeconds(5)
        model.timing.inference_duration.FromMilliseconds(10)
        assert (await replay(client, "roomy", await stored(lake, "waits", 60))).succeeded_count == 60
        model.open_gate.clear()
        for number in range(6):
            await publish(bus, "door", jpeg(number))
        await until(lambda: model.at_once[Priority.PRIORITY_BACKGROUND] == 4)
        model.open_gate.set()
        await until(lambda: model.at_once[Priority.PRIORITY_BACKGROUND] == 0)


async def test_the_archives_progress_is_told(client: AsyncClient, bus: Bus) -> None:
    async def told_of_the_newest() -> dict[str, ArchivedTable] | None:  # results of other tests may still come
        tables = {table.table: table for table in await client.archive_progress()}
        newest = (await bus.js.stream_info(streams.RESULTS)).state.last_seq
        return tables if tables["results"].newest_sequence == newest else None

    tables = await until(told_of_the_newest)
    assert set(tables) == {"frames", "results", "shadows", "corrections"}
    assert tables["results"].archived_sequence == 0


@pytest.mark.parametrize(
    ("share", "images", "expected", "rest"),
    [(0.5, 1, 1, 1.0), (0.5, 2, 1, 0.0), (0.5, 3, 2, 1 / 3), (1.0, 4, 4, 0.0), (0.1, 2, 1, 4.0), (0.3, 10, 3, 0.0)],
)
def test_a_share_is_images_at_once_and_rest(share: float, images: int, expected: int, rest: float) -> None:
    assert at_once(share, images) == expected
    assert rest_share(share, images) == pytest.approx(rest)


def test_an_image_has_its_part_of_the_batch() -> None:
    timing = InferenceTiming(batch_size=4)
    timing.preprocess_duration.FromMilliseconds(10)
    timing.inference_duration.FromMilliseconds(80)
    assert busy_seconds(timing) == pytest.approx(0.03)
