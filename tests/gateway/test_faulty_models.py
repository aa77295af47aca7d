"""Lanes under `every` before models that die, freeze, fail, or that the gateway itself fails on."""

import signal
from collections import Counter

import pytest

from framemesh.bus import Bus, streams
from framemesh.client import AsyncClient
from framemesh.errors import ModelUnavailableError
from framemesh.frames import MESSAGE_ID
from framemesh.specs import parse
from framemesh.v1.answer_pb2 import AnswerState
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.inference_service_pb2 import InferResponse
from framemesh.v1.result_pb2 import DeadLetter, Result
from gateway import asking, lanes
from gateway import results as gateway_results
from tests.gateway.conftest import Results, deploy, has_consumer, is_done, publish, serving_model, stored_all, until
from tests.gateway.mortal import WORKERS, mortal_server
from tests.pictures import jpeg

SUCCEEDED, FAILED = AnswerState.ANSWER_STATE_SUCCEEDED, AnswerState.ANSWER_STATE_FAILED


async def send(bus: Bus, camera: str, count: int) -> list[str]:
    return [str(await publish(bus, camera, jpeg(number))) for number in range(count)]


async def answered_once(results: Results, model: str, sent: list[str]) -> dict[str, Result]:
    """Wait until every frame has a result; each by frame."""
    await until(lambda: {result.frame.frame_id for result in results.of(model)} >= set(sent), seconds=60)
    assert Counter(result.frame.frame_id for result in results.of(model)) == Counter(sent)
    return {result.frame.frame_id: result for result in results.of(model)}


async def last_letter(bus: Bus, camera: str) -> DeadLetter:
    return DeadLetter.FromString((await bus.js.get_last_msg(streams.DEADLETTERS, f"deadletters.{camera}")).data or b"")


async def test_a_frame_that_its_server_dies_of_is_given_up_and_those_beside_it_are_answered(
    nats: str, client: AsyncClient, bus: Bus, results: Results
) -> None:
    await deploy(client, bus, "mortal=x,policy=every")
    sent = await send(bus, "bad", 2 * WORKERS)  # all wait when the server comes: the deadly one has company
    await until(lambda: stored_all(bus))
    async with mortal_server(nats, "mortal", delay=0.1, poison=jpeg(2)) as server:
        found = await answered_once(results, "mortal", sent)
        await until(lambda: server.deaths >= 3)  # the gateway may have heard of the last one first
        assert server.deaths <= 4  # once in company at most, and three times alone
    states = [found[frame_id].answer.state for frame_id in sent]
    assert states == [FAILED if number == 2 else SUCCEEDED for number in range(2 * WORKERS)]
    assert found[sent[2]].answer.error.reason == "SERVER_LOST"
    letter = await last_letter(bus, "bad")
    assert (letter.model, letter.reason, letter.frame.frame_id) == ("mortal", "SERVER_LOST", sent[2])
    await client.delete("mortal")


async def test_frames_of_a_server_that_is_killed_again_and_again_are_answered(
    nats: str, client: AsyncClient, bus: Bus, results: Results
) -> None:
    await deploy(client, bus, "hunted=x,policy=every")
    sent = await send(bus, "hunt", 40)
    async with mortal_server(nats, "hunted", delay=0.2) as server:
        for kills, count in ((1, 4), (2, 8)):
            await until(lambda count=count: len(results.of("hunted")) >= count)  # type: ignore[misc]
            server.process.kill()
            await until(lambda kills=kills: server.deaths == kills and server.process.returncode is None)  # type: ignore[misc]
        found = await answered_once(results, "hunted", sent)
    assert {result.answer.state for result in found.values()} == {SUCCEEDED}
    await client.delete("hunted")


async def test_a_model_whose_servers_are_all_frozen_delays_nobody_and_goes_on_afterwards(
    nats: str, client: AsyncClient, bus: Bus, results: Results
) -> None:
    async with (
        mortal_server(nats, "icy", replica="a") as first,
        mortal_server(nats, "icy", replica="b") as second,
        serving_model(bus, "warm"),
    ):
        await deploy(client, bus, "icy=x,policy=every,replicas=2")
        await deploy(client, bus, "warm=x,policy=every")
        sent = await send(bus, "ice", 10)
        await answered_once(results, "icy", sent)
        for server in (first, second):
            server.process.send_signal(signal.SIGSTOP)
        sent += await send(bus, "ice", 40)
        await answered_once(results, "warm", sent)
        assert len(results.of("icy")) == 10
        spec = await client.deploy(parse("prompt=x,policy=every"))  # nor do its calls hold up another's start
        assert (await client.models(timeout=5))[0].spec.name == "icy"
        async with serving_model(bus, "prompt"):
            await until(lambda: has_consumer(bus, spec.name))
            late = await send(bus, "late", 1)
            await answered_once(results, "prompt", late)
        for server in (first, second):
            server.process.send_signal(signal.SIGCONT)
        found = await answered_once(results, "icy", sent + late)
    assert {result.answer.state for result in found.values()} == {SUCCEEDED}
    for name in ("icy", "warm", "prompt"):
        await client.delete(name)


async def test_a_frame_that_a_model_hangs_on_is_given_up_and_those_beside_it_are_answered(
    client: AsyncClient, bus: Bus, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_ASK_SECONDS", 0.5)
    async with serving_model(bus, "deep", workers=4) as model:
        model.hangs = lambda image: image == jpeg(1)
        await deploy(client, bus, "deep=x,policy=every")
        sent = await send(bus, "hang", 8)
        found = await answered_once(results, "deep", sent)
    assert [frame_id for frame_id in sent if found[frame_id].answer.state == FAILED] == [sent[1]]
    assert found[sent[1]].answer.error.reason == "DEADLINE_EXCEEDED"
    assert model.seen.count(jpeg(1)) == 4  # once in company, three times alone
    await client.delete("deep")


async def test_a_server_that_comes_later_takes_its_share(client: AsyncClient, bus: Bus, results: Results) -> None:
    async with serving_model(bus, "grown", replica="a") as stuck:
        await deploy(client, bus, "grown=x,policy=every,replicas=2")
        stuck.open_gate.clear()
        sent = await send(bus, "grow", 20)
        async with serving_model(bus, "grown", replica="b") as new:
            await until(lambda: len(new.seen) >= 18)  # all but those that the other holds
            stuck.open_gate.set()
            await answered_once(results, "grown", sent)
    await client.delete("grown")


async def test_a_server_that_drains_is_no_fault_of_the_frame(
    client: AsyncClient, bus: Bus, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_SUCCESSOR_SECONDS", 0.1)  # none comes
    async with serving_model(bus, "going") as model:
        tries = Counter[bytes]()

        def fails(image: bytes) -> Exception | None:
            tries[image] += 1
            return ModelUnavailableError("draining") if tries[image] < 5 else None  # more often than faults may be

        model.fails = fails
        await deploy(client, bus, "going=x,policy=every")
        sent = await send(bus, "go", 2)
        found = await answered_once(results, "going", sent)
    assert {result.answer.state for result in found.values()} == {SUCCEEDED}
    await client.delete("going")


async def test_an_answer_too_large_to_keep_is_a_failed_result(client: AsyncClient, bus: Bus, results: Results) -> None:
    async with serving_model(bus, "wordy") as model:
        model.text = "x" * (9 << 20)
        await deploy(client, bus, "wordy=x,policy=every")
        sent = await send(bus, "word", 1)
        found = await answered_once(results, "wordy", sent)
    assert found[sent[0]].answer.error.reason == "IMAGE_TOO_LARGE"
    assert (await last_letter(bus, "word")).model == "wordy"
    await client.delete("wordy")


async def test_a_fault_of_the_gateway_itself_on_a_frame_is_bounded(
    client: AsyncClient, bus: Bus, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = Counter[str]()
    whole = gateway_results.succeeded

    def breaks(model: str, response: InferResponse) -> object:
        said = response.answer.classification.labels[0].name
        tries[said] += 1
        if said == f"{len(jpeg(0, (640, 480)))} bytes":
            raise ZeroDivisionError
        return whole(model, response)

    monkeypatch.setattr(gateway_results, "succeeded", breaks)
    async with serving_model(bus, "buggy"):
        await deploy(client, bus, "buggy=x,policy=every")
        sent = [str(await publish(bus, "bug", jpeg(0, size))) for size in ((640, 480), (64, 48))]
        found = await answered_once(results, "buggy", sent)
    assert found[sent[0]].answer.error.reason == "INTERNAL"
    assert found[sent[1]].answer.state == SUCCEEDED
    assert sorted(tries.values()) == [1, 3]
    assert (await last_letter(bus, "bug")).reason == "INTERNAL"
    await client.delete("buggy")


async def test_a_frame_that_an_interrupted_try_has_answered_is_not_asked_about_again(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    consumer = await streams.ensure_model_consumer(bus, "second", [], max_ack_pending=256)
    sent = await send(bus, "seen", 2)
    await until(lambda: stored_all(bus))
    # A gateway is killed between a result and its acknowledgement.
    pulling = await bus.js.pull_subscribe_bind(consumer, streams.STORED)
    taken = [message for _ in sent for message in await pulling.fetch(1, timeout=60)]
    frames = {frame.frame_id: frame for frame in (StoredFrame.FromString(message.data).frame for message in taken)}
    answer = gateway_results.succeeded("second", InferResponse(model_version="first try"))
    body = Result(frame=frames[sent[0]], answer=answer).SerializeToString()
    await bus.publish("results.second.seen", body, {MESSAGE_ID: f"second/{sent[0]}"}, timeout=60)
    await pulling.unsubscribe()
    for message in taken:
        await message.nak()
    async with serving_model(bus, "second") as model:
        await deploy(client, bus, "second=x,policy=every")
        found = await answered_once(results, "second", sent)
        await until(lambda: is_done(bus, "second"))
    assert model.seen == [jpeg(1)]
    assert found[sent[0]].answer.model_version == "first try"
    await client.delete("second")


async def test_frames_that_wait_go_to_the_lane_that_follows(client: AsyncClient, bus: Bus, results: Results) -> None:
    async with serving_model(bus, "moved") as model:
        await deploy(client, bus, "moved=x,policy=every")
        model.open_gate.clear()
        sent = await send(bus, "move", 30)
        await until(lambda: _is_delivered(bus, "moved", 30))
        await client.deploy(parse("moved=x,policy=every,camera=move"))
        model.open_gate.set()
        await answered_once(results, "moved", sent)
    await client.delete("moved")


async def test_a_new_model_may_start_in_the_past_and_goes_on_where_it_is_whatever_is_asked_later(
    client: AsyncClient, bus: Bus, results: Results
) -> None:
    before = await send(bus, "past", 3)
    await until(lambda: stored_all(bus))
    async with serving_model(bus, "late"):
        await deploy(client, bus, "late=x,policy=every,camera=past,start=1h")
        await answered_once(results, "late", before)
        await client.deploy(parse("late=x,policy=every,camera=past,camera=present,start=2h"))
        after = await send(bus, "past", 1)
        await answered_once(results, "late", before + after)
    await client.delete("late")


async def _is_delivered(bus: Bus, model: str, count: int) -> bool:
    info = await bus.js.consumer_info(streams.STORED, streams.model_consumer(model))
    return bool(info.num_ack_pending == count)
