from collections import Counter

import pytest

from framemesh.bus import Bus, streams
from framemesh.client import AsyncClient
from framemesh.errors import InternalError, InvalidImageError, QueueFullError
from framemesh.frames import CAPTURED_AT
from framemesh.v1.answer_pb2 import AnswerState
from framemesh.v1.frame_pb2 import Frame, StoredFrame
from framemesh.v1.inference_service_pb2 import Priority
from framemesh.v1.result_pb2 import DeadLetter
from gateway import lanes
from tests.gateway.conftest import Results, deploy, has_consumer, is_done, publish, serving_model, stored_all, until
from tests.pictures import jpeg


async def test_under_every_each_stored_frame_has_exactly_one_result(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "all") as model:
        await deploy(client, bus, "all=x,policy=every")
        sent = [str(await publish(bus, "gate", jpeg(number))) for number in range(60)]
        await until(lambda: len(results.of("all")) >= 60)
    assert Counter(result.frame.frame_id for result in results.of("all")) == Counter(sent)
    assert {request.priority for request in model.requests} == {Priority.PRIORITY_BACKGROUND}
    assert all(result.skipped_frame_count == 0 for result in results.of("all"))
    assert all(result.answer.state == AnswerState.ANSWER_STATE_SUCCEEDED for result in results.of("all"))
    await client.delete("all")


async def test_under_latest_a_slow_model_gets_the_newest_frame_and_every_skip_is_counted(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "slow") as model:
        await deploy(client, bus, "slow=x,policy=latest")
        model.open_gate.clear()
        sent = [str(await publish(bus, "door", jpeg(number))) for number in range(50)]
        await until(lambda: stored_all(bus))
        model.open_gate.set()
        await until(lambda: sum(1 + result.skipped_frame_count for result in results.of("slow")) >= 50)
    answered = results.of("slow")
    assert len(answered) < 50
    assert sum(1 + result.skipped_frame_count for result in answered) == 50
    assert sent[-1] in {result.frame.frame_id for result in answered}
    await client.delete("slow")


async def test_a_model_without_servers_delays_neither_storing_nor_another_model(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    await deploy(client, bus, "absent=x,policy=every")
    async with serving_model(bus, "present"):
        await deploy(client, bus, "present=x,policy=every")
        for number in range(30):
            await publish(bus, "yard", jpeg(number))
        await until(lambda: len(results.of("present")) == 30)
    assert results.of("absent") == []
    # and once it has a server, it catches up on all of them
    async with serving_model(bus, "absent"):
        await until(lambda: len(results.of("absent")) == 30)
    await client.delete("absent")
    await client.delete("present")


async def test_a_frame_that_breaks_the_model_is_dead_lettered_and_has_a_failed_result(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "picky") as model:
        model.fails = lambda image: InvalidImageError("damaged in the middle") if image == jpeg(1) else None
        await deploy(client, bus, "picky=x,policy=every")
        sent = [str(await publish(bus, "shop", jpeg(number))) for number in range(3)]
        await until(lambda: len(results.of("picky")) == 3)
    states = {result.frame.frame_id: result.answer for result in results.of("picky")}
    assert states[sent[1]].error.reason == "INVALID_IMAGE"
    assert states[sent[0]].HasField("answer")
    message = await bus.js.get_last_msg(streams.DEADLETTERS, "deadletters.shop")
    letter = DeadLetter.FromString(message.data or b"")
    assert (letter.model, letter.reason, letter.frame.frame_id) == ("picky", "INVALID_IMAGE", sent[1])
    await client.delete("picky")


async def test_a_fault_of_the_server_is_tried_again_a_bounded_number_of_times(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "faulty") as model:
        tries = Counter[bytes]()

        def fails(image: bytes) -> Exception | None:
            tries[image] += 1
            if image == jpeg(0):
                return InternalError("always")
            return QueueFullError("full") if tries[image] < 5 else None

        model.fails = fails
        await deploy(client, bus, "faulty=x,policy=every")
        for number in range(2):
            await publish(bus, "hall", jpeg(number))
        await until(lambda: len(results.of("faulty")) == 2)
    assert tries == {jpeg(0): 3, jpeg(1): 5}  # a full queue isn't the frame's fault
    reasons = sorted(result.answer.error.reason for result in results.of("faulty"))
    assert reasons == ["", "INTERNAL"]
    await client.delete("faulty")


async def test_a_model_sees_only_its_cameras(client: AsyncClient, bus: Bus, results: Results) -> None:
    async with serving_model(bus, "choosy"):
        await deploy(client, bus, "choosy=x,policy=every,camera=inside")
        for camera in ("outside", "inside", "outside"):
            await publish(bus, camera, jpeg(len(camera)))
        await until(lambda: len(results.of("choosy")) == 1)
        await until(lambda: stored_all(bus))
    assert [result.frame.camera for result in results.of("choosy")] == ["inside"]
    await client.delete("choosy")


async def test_a_slow_model_holds_back_no_other(client: AsyncClient, bus: Bus, results: Results) -> None:
    async with serving_model(bus, "stuck") as stuck, serving_model(bus, "quick"):
        await deploy(client, bus, "stuck=x,policy=every")
        await deploy(client, bus, "quick=x,policy=every")
        stuck.open_gate.clear()
        for number in range(40):
            await publish(bus, "road", jpeg(number))
        await until(lambda: len(results.of("quick")) == 40)
        assert results.of("stuck") == []
        stuck.open_gate.set()
        await until(lambda: len(results.of("stuck")) == 40)
    await client.delete("stuck")
    await client.delete("quick")


async def test_references_that_are_none_of_ours_stop_no_lane(client: AsyncClient, bus: Bus, results: Results) -> None:
    bad = StoredFrame(frame=Frame(frame_id="px-1767225600000000000", camera="px", object_key="../x/px-1.jpg"))
    async with serving_model(bus, "firm"):
        await deploy(client, bus, "firm=x,policy=every")
        for body in (b"", b"nonsense", bad.SerializeToString(), b"\xff" * 100, b"\xff" * (7 << 20)):
            await bus.publish("stored.px", body, {}, timeout=60)
        sent = await publish(bus, "plaza", jpeg(1))
        await until(lambda: results.of("firm"))
    assert [result.frame.frame_id for result in results.of("firm")] == [str(sent)]
    await client.delete("firm")


async def test_a_model_whose_consumer_somebody_deleted_goes_on(
    client: AsyncClient, bus: Bus, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_GONE_SECONDS", 0.1)
    async with serving_model(bus, "robbed"):
        await deploy(client, bus, "robbed=x,policy=every")
        sent = [str(await publish(bus, "lot", jpeg(1)))]
        await until(lambda: results.of("robbed"))
        await until(lambda: is_done(bus, "robbed"))  # or the first would be answered again
        await streams.delete_model_consumer(bus, "robbed")
        await until(lambda: has_consumer(bus, "robbed"))
        sent.append(str(await publish(bus, "lot", jpeg(2))))
        await until(lambda: len(results.of("robbed")) == 2)
    assert [result.frame.frame_id for result in results.of("robbed")] == sent
    await client.delete("robbed")


async def test_a_camera_whose_clock_jumped_ahead_is_not_silenced(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with serving_model(bus, "now"):
        await deploy(client, bus, "now=x,policy=latest")
        await bus.js.publish("frames.clk", jpeg(1), headers={CAPTURED_AT: "9999-12-31T23:59:59Z"})
        await until(lambda: len(results.of("now")) == 1)
        await bus.js.publish("frames.clk", jpeg(2))
        await until(lambda: len(results.of("now")) == 2)
    await client.delete("now")
