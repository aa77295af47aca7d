"""The report, on stores that a test filled itself."""

import time
from datetime import UTC, datetime

from framemesh.bus import Bus, streams
from framemesh.frames import MESSAGE_ID, FrameId, object_key, timestamp
from framemesh.lake import Lake
from framemesh.mesh import report
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerError, AnswerState, ModelAnswer
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.result_pb2 import DeadLetter, Result


async def publish(bus: Bus, subject: str, body: bytes, message_id: str = "") -> None:
    await bus.publish(subject, body, {MESSAGE_ID: message_id} if message_id else {}, timeout=60)


async def accept(bus: Bus, camera: str) -> None:
    """A frame that the stream accepted and the gateway took: published, and acknowledged."""
    await publish(bus, f"frames.{camera}", b"x")
    taken = await (await bus.js.pull_subscribe_bind(streams.STORE_CONSUMER, streams.FRAMES)).fetch(1, timeout=60)
    await taken[0].ack_sync()


async def refer(bus: Bus, frame_id: FrameId) -> None:
    stored = StoredFrame(frame=Frame(frame_id=str(frame_id), camera=frame_id.camera))
    stored.store_time.FromDatetime(datetime.now(UTC))
    await publish(bus, f"stored.{frame_id.camera}", stored.SerializeToString())


async def put(lake: Lake, frame_id: FrameId, content_type: str = "image/jpeg") -> None:
    await lake.put(object_key(frame_id, content_type), b"x", content_type=content_type, metadata={})


async def answer(
    bus: Bus,
    model: str,
    frame_id: FrameId,
    *,
    seconds: float,
    failed: bool = False,
    retried: int = 0,
    replayed: bool = False,
    shadow: bool = False,
) -> None:
    error = AnswerError(code=13, reason="INTERNAL") if failed else None
    state = AnswerState.ANSWER_STATE_FAILED if failed else AnswerState.ANSWER_STATE_SUCCEEDED
    result = Result(
        frame=Frame(frame_id=str(frame_id), camera=frame_id.camera, capture_time=timestamp(frame_id.captured_ns)),
        answer=ModelAnswer(model=model, state=state, error=error),
        answer_time=timestamp(frame_id.captured_ns + int(seconds * 1e9)),
        retried_dead_letter=retried,
        replayed=replayed,
    )
    result.latency.FromNanoseconds(int(seconds * 1e9 / 2))
    await publish(bus, streams.result_subject(model, frame_id.camera, shadow=shadow), result.SerializeToString())


async def test_everything_is_counted_from_the_stores(bus: Bus, lake: Lake) -> None:
    start = await report.position(bus)
    await streams.ensure_model_consumer(bus, "m", [], max_ack_pending=100)
    await streams.ensure_model_consumer(bus, "choosy", ["b"], max_ack_pending=100)
    now = time.time_ns()
    frames = [FrameId("a", now + number) for number in range(5)] + [FrameId("b", now)]
    for frame_id in frames:
        await accept(bus, frame_id.camera)
    for frame_id in frames[:5]:  # the sixth has an object but no reference: the gateway died in between
        await refer(bus, frame_id)
    await refer(bus, frames[0])  # one too many
    for frame_id in (*frames[:4], frames[5]):  # the fifth has a reference but no object
        await put(lake, frame_id)
    await put(lake, frames[1], "image/png")  # one frame under two keys
    await accept(bus, "c")
    await publish(bus, "deadletters.c", DeadLetter(reason="INVALID_IMAGE").SerializeToString())
    await publish(bus, "deadletters.a", DeadLetter(model="m", reason="INVALID_IMAGE").SerializeToString())
    await publish(bus, "frames.a", b"still waiting")
    await answer(bus, "m", frames[0], seconds=0.1)
    await answer(bus, "m", frames[1], seconds=0.3)
    await answer(bus, "m", frames[1], seconds=0.3)
    await answer(bus, "m", frames[2], seconds=0.2, failed=True)
    reader = await bus.js.pull_subscribe_bind(streams.model_consumer("m"), streams.STORED)
    for message in await reader.fetch(6, timeout=60):
        await message.ack_sync()

    specs = [parse("m=x,policy=latest"), parse("choosy=x,policy=every,camera=b")]
    counted = await report.count(bus, lake, start, specs, seconds=12.3456)

    assert counted["seconds"] == 12.346
    assert counted["frames"] == {
        "published": 8,
        "stored": 4,
        "lost": 2,
        "duplicates": 2,
        "dead_lettered": 1,
        "waiting": 1,
    }
    assert counted["cameras"] == {"a": {"stored": 4}}
    models = counted["models"]
    assert isinstance(models, dict)
    assert {key: models["m"][key] for key in ("analysed", "failed", "skipped", "missing", "waiting", "duplicates")} == {
        "analysed": 2,
        "failed": 1,
        "skipped": 2,
        "missing": 0,
        "waiting": 0,
        "duplicates": 1,
    }
    assert models["m"]["staleness_seconds"]["p50"] == 0.3
    assert models["m"]["latency_seconds"]["p99"] == 0.15
    assert models["choosy"]["missing"] == 0  # nothing of its camera was stored


async def test_a_shadows_answers_are_counted_apart_and_none_is_missing(bus: Bus, lake: Lake) -> None:
    await bus.js.purge_stream(streams.FRAMES)
    start = await report.position(bus)
    await streams.ensure_model_consumer(bus, "next", [], max_ack_pending=100)
    frames = [FrameId("s", time.time_ns() + number) for number in range(3)]
    for number, frame_id in enumerate(frames):
        await accept(bus, "s")
        await refer(bus, frame_id)
        await put(lake, frame_id)
        await answer(bus, "next", frame_id, seconds=0.1, shadow=number < 2)  # it was promoted before the third
    reader = await bus.js.pull_subscribe_bind(streams.model_consumer("next"), streams.STORED)
    for message in await reader.fetch(3, timeout=60):
        await message.ack_sync()
    as_shadow, as_model = parse("next=x,policy=every,shadow=true"), parse("next=x,policy=every")
    for specs, section, other in (([as_shadow], "shadows", "models"), ([as_model], "models", "shadows")):
        counted = await report.count(bus, lake, start, specs, seconds=1)
        found = counted[section]
        assert isinstance(found, dict)
        assert {key: found["next"][key] for key in ("analysed", "missing", "duplicates")} == {
            "analysed": 3,
            "missing": 0,
            "duplicates": 0,
        }
        assert counted[other] == {}


async def test_a_report_of_nothing_is_all_zeros(bus: Bus, lake: Lake) -> None:
    start = await report.position(bus)
    counted = await report.count(bus, lake, start, [], seconds=1)
    frames = counted["frames"]
    assert isinstance(frames, dict)
    assert [frames[key] for key in ("published", "stored", "lost", "duplicates", "dead_lettered")] == [0, 0, 0, 0, 0]
    assert frames["waiting"] == 0


async def test_retries_of_dead_letters_are_neither_losses_nor_duplicates(bus: Bus, lake: Lake) -> None:
    await bus.js.purge_stream(streams.FRAMES)
    start = await report.position(bus)
    await streams.ensure_model_consumer(bus, "retried", [], max_ack_pending=100)
    frame_id = FrameId("r", time.time_ns())
    await publish(bus, "frames.r", b"refused at first")
    letter = await bus.js.publish("deadletters.r", DeadLetter(reason="INVALID_IMAGE").SerializeToString())
    await publish(bus, "frames.r", b"stored when it was retried")
    await bus.js.purge_stream(streams.FRAMES)
    await bus.js.delete_msg(streams.DEADLETTERS, letter.seq)
    await refer(bus, frame_id)
    await put(lake, frame_id)
    reader = await bus.js.pull_subscribe_bind(streams.model_consumer("retried"), streams.STORED)
    await (await reader.fetch(1, timeout=60))[0].ack_sync()
    failure = DeadLetter(model="retried", reason="INTERNAL").SerializeToString()
    number = (await bus.js.publish("deadletters.r", failure)).seq
    await publish(bus, "deadletters.r", failure)  # a second frame's, which stays
    await publish(bus, "deadletters.r", b"\xff somebody else's")
    await answer(bus, "retried", frame_id, seconds=0.1, failed=True)
    await answer(bus, "retried", frame_id, seconds=0.2, retried=number)
    await bus.js.delete_msg(streams.DEADLETTERS, number)
    counted = await report.count(bus, lake, start, [parse("retried=x,policy=every")], seconds=1)
    frames, models = counted["frames"], counted["models"]
    assert isinstance(frames, dict)
    assert isinstance(models, dict)
    of_frames = ("published", "stored", "dead_lettered", "lost", "duplicates")
    assert [frames[name] for name in of_frames] == [2, 1, 1, 0, 0]
    of_models = ("analysed", "failed", "missing", "duplicates")
    assert [models["retried"][name] for name in of_models] == [1, 0, 0, 0]


async def test_replayed_answers_are_no_duplicates_and_their_age_is_not_the_models(bus: Bus, lake: Lake) -> None:
    start = await report.position(bus)
    first, second = (FrameId("past", time.time_ns() + number) for number in range(2))
    await answer(bus, "again", first, seconds=0.2)
    for frame_id in (first, second, second):
        await answer(bus, "again", frame_id, seconds=5000, replayed=True)
    counted = await report.count(bus, lake, start, [parse("again=x")], seconds=1)
    assert isinstance(counted["models"], dict)
    model = counted["models"]["again"]
    assert (model["analysed"], model["duplicates"]) == (2, 0)
    assert model["staleness_seconds"] == {"p50": 0.2, "p99": 0.2}
