import asyncio
import re
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, DeliverPolicy

from framemesh.bus import Bus, ConsumerGoneError, connect, connection, consume, leases, streams
from framemesh.bus.leases import Leases
from framemesh.bus.states import stream_state
from framemesh.bus.watching import snapshots
from framemesh.errors import (
    BusUnavailableError,
    ConfigurationError,
    ImageTooLargeError,
    StreamFullError,
)
from framemesh.mesh.servers import free_port, nats_server, nats_url
from framemesh.mesh.supervision import Supervisor
from tests.conftest import CREDENTIALS, SIZES


async def at_once() -> None:
    pass


async def take(bus: Bus, count: int, *, batch: int = 8) -> list[bytes]:
    bodies: list[bytes] = []
    messages = consume(bus, streams.FRAMES, streams.STORE_CONSUMER, batch=batch, max_bytes=1 << 24, room=at_once)
    async with asyncio.timeout(60), aclosing(messages):
        async for message in messages:
            bodies.append(message.data)
            await message.ack_sync()
            if len(bodies) == count:
                return bodies
    raise AssertionError("the consumer ended")


async def test_streams_can_be_ensured_again(bus: Bus) -> None:
    await streams.ensure(bus, SIZES)
    assert (await bus.js.stream_info(streams.FRAMES)).config.max_age in (None, 0)


async def test_messages_come_in_order_whatever_the_batch(bus: Bus) -> None:
    for number in range(50):
        await bus.publish("frames.gate", str(number).encode(), {}, timeout=60)
    assert await take(bus, 50) == [str(number).encode() for number in range(50)]


async def test_a_single_message_comes_without_waiting_for_a_full_batch(bus: Bus) -> None:
    taking = asyncio.create_task(take(bus, 1, batch=100))
    await bus.publish("frames.gate", b"alone", {}, timeout=60)
    async with asyncio.timeout(20):  # a batch that had to fill would wait for its expiry, 30 s
        assert await taking == [b"alone"]


async def test_one_request_is_open_however_many_batches_were_full(bus: Bus) -> None:
    for number in range(40):
        await bus.publish("frames.gate", str(number).encode(), {}, timeout=60)
    messages = consume(bus, streams.FRAMES, streams.STORE_CONSUMER, batch=4, max_bytes=1 << 24, room=at_once)
    async with asyncio.timeout(20), aclosing(messages):
        for _ in range(40):
            await (await anext(messages)).ack_sync()
        waiting = asyncio.ensure_future(anext(messages))
        while not (info := await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)).num_waiting:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait((waiting,))
    assert info.num_waiting == 1


async def test_a_message_that_looks_like_a_status_is_a_message(bus: Bus) -> None:
    await bus.publish("frames.gate", b"", {"Status": "409", "Description": "Consumer Deleted"}, timeout=5)
    assert await take(bus, 1) == [b""]


async def test_a_deleted_consumer_ends_the_iteration(bus: Bus) -> None:
    name = await streams.ensure_model_consumer(bus, "gone", [], max_ack_pending=10)
    messages = consume(bus, streams.STORED, name, batch=4, max_bytes=1 << 20, room=at_once)
    waiting = asyncio.ensure_future(anext(messages))
    while not (await bus.js.consumer_info(streams.STORED, name)).num_waiting:
        await asyncio.sleep(0.01)
    await streams.delete_model_consumer(bus, "gone")
    with pytest.raises(ConsumerGoneError):
        await waiting


async def test_a_consumer_that_is_gone_before_it_is_asked_ends_the_iteration(bus: Bus) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ConsumerGoneError):
            await anext(consume(bus, streams.STORED, "nobody", batch=4, max_bytes=1 << 24, room=at_once))


async def test_what_a_frozen_process_held_is_no_longer_its_own(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Leases()
    message = Msg(bus.client, reply="$JS.ACK.one")
    held.hold(message)
    assert held.holds(message)
    monkeypatch.setattr(leases, "_LAPSED_SECONDS", -1.0)  # as if it had not renewed for so long
    assert not held.holds(message)
    assert held.held() == []


async def test_what_nobody_took_goes_back_when_the_iteration_ends(bus: Bus) -> None:
    never = ConsumerConfig(durable_name="brief", deliver_policy=DeliverPolicy.NEW, ack_wait=3600)
    await bus.js.add_consumer(streams.STORED, never)
    for number in range(9):
        await bus.publish("stored.gate", str(number).encode(), {}, timeout=60)

    async def read(count: int) -> set[bytes]:
        found: set[bytes] = set()
        async with aclosing(
            consume(bus, streams.STORED, "brief", batch=9, max_bytes=1 << 20, room=at_once)
        ) as messages:
            async for message in messages:
                await message.ack()
                found.add(message.data)
                if len(found) == count:
                    break
        return found

    first = await read(1)
    async with asyncio.timeout(20):
        assert first | await read(8) == {str(number).encode() for number in range(9)}
    await bus.js.delete_consumer(streams.STORED, "brief")


async def test_a_flush_that_was_cancelled_does_not_end_the_reading(bus: Bus) -> None:
    flushing = asyncio.create_task(bus.client.flush())
    while not bus.client._pongs:
        await asyncio.sleep(0)
    flushing.cancel()
    await bus.client.flush()
    assert (await bus.js.stream_info(streams.STORED)).config.name == streams.STORED


async def test_consuming_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    port = free_port()
    async with Supervisor(tmp_path / "logs", on_event=print) as supervisor:
        await supervisor.start(nats_server(tmp_path / "nats", port, CREDENTIALS))
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
            await streams.ensure(bus, SIZES)
            await bus.publish("frames.gate", b"before", {}, timeout=60)
            assert await take(bus, 1) == [b"before"]
            taking = asyncio.create_task(take(bus, 1))
            while not (await bus.js.consumer_info(streams.FRAMES, streams.STORE_CONSUMER)).num_waiting:
                await asyncio.sleep(0.01)
            supervisor.kill()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await bus.publish("frames.gate", b"after", {"Nats-Msg-Id": "gate-1"}, timeout=1)
                        break
                    except BusUnavailableError:
                        await asyncio.sleep(0.1)
            assert await taking == [b"after"]


async def test_a_message_over_the_limit_is_refused_here_and_the_connection_lives(bus: Bus) -> None:
    with pytest.raises(ImageTooLargeError):
        await bus.publish("frames.gate", b"x" * streams.MAX_PAYLOAD_BYTES, {}, timeout=60)
    with pytest.raises(ImageTooLargeError):  # under the connection's limit, over the stream's
        await bus.publish("frames.gate", b"x" * (streams.MAX_PAYLOAD_BYTES - 4096), {}, timeout=60)
    await bus.publish("stored.gate", b"still here", {}, timeout=60)


async def test_no_stream_for_the_subject_says_who_makes_them(bus: Bus) -> None:
    with pytest.raises(BusUnavailableError, match="gateway"):
        await bus.publish("nowhere", b"x", {}, timeout=60)


async def test_a_full_stream_refuses_new_frames_and_keeps_the_old(tmp_path: Path) -> None:
    port = free_port()
    async with Supervisor(tmp_path / "logs", on_event=print) as supervisor:
        await supervisor.start(nats_server(tmp_path / "nats", port, CREDENTIALS))
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
            small = streams.StreamSizes(1 << 20, 1 << 20, 1 << 20, 1 << 20, keep_days=1, replicas=1)
            await streams.ensure(bus, small)
            for _ in range(10):
                await bus.publish("frames.gate", b"x" * 100_000, {}, timeout=60)
            with pytest.raises(StreamFullError):
                await bus.publish("frames.gate", b"x" * 100_000, {}, timeout=60)
            held = (await bus.js.stream_info(streams.FRAMES)).state
            assert (held.first_seq, held.messages) == (1, held.last_seq)
            await take(bus, 1)
            await bus.publish("frames.gate", b"y", {}, timeout=60)


async def test_no_server_says_where_it_was_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)  # it is sought for so long, as it may be starting
    with pytest.raises(BusUnavailableError, match=r"127\.0\.0\.1:1"):
        async with connect("nats://user:secret@127.0.0.1:1", name="test"):
            pass


async def test_a_wrong_password_says_so_without_the_password(nats: str) -> None:
    with pytest.raises(ConfigurationError, match="FRAMEMESH_NATS_URL") as caught:
        async with connect(nats.replace(CREDENTIALS.password, "wrong-secret"), name="test"):
            pass
    assert "wrong-secret" not in str(caught.value)


async def test_an_address_that_can_not_be_read_says_so_without_the_password() -> None:
    with pytest.raises(ConfigurationError, match="FRAMEMESH_NATS_URL") as caught:
        async with connect("nats://tester:hunter2/hunter2@nats:4222", name="x"):
            pass
    assert "hunter2" not in str(caught.value)


async def test_streams_that_do_not_fit_say_so(bus: Bus) -> None:
    huge = streams.StreamSizes(1 << 60, 1 << 20, 1 << 20, 1 << 20, keep_days=1, replicas=1)
    with pytest.raises(ConfigurationError, match="JetStream"):
        await streams.ensure(bus, huge)


async def test_sizes_that_nobody_chose_become_those_that_nats_has_room_for(tmp_path: Path) -> None:
    port = free_port()
    async with Supervisor(tmp_path / "logs", on_event=print) as supervisor:
        spec = nats_server(tmp_path / "nats", port, CREDENTIALS)
        config = tmp_path / "nats" / "nats.conf"
        config.write_text(re.sub(r"max_file_store: \d+", "max_file_store: 1GB", config.read_text()))
        await supervisor.start(spec)
        async with connect(nats_url(port, CREDENTIALS), name="test") as bus:
            sizes = streams.StreamSizes(4 << 30, 1 << 30, 1 << 30, 64 << 20, keep_days=1, replicas=1)
            with pytest.raises(ConfigurationError, match="storage"):
                await streams.ensure(bus, sizes)
            flexible = frozenset({"frames_bytes", "stored_bytes", "results_bytes"})
            await streams.ensure(bus, replace(sizes, flexible=flexible))
            limits = {name: (await stream_state(bus, name)).limit_bytes for name in ("FRAMES", "STORED", "DEADLETTERS")}
            assert limits == {"FRAMES": 512 << 20, "STORED": 128 << 20, "DEADLETTERS": 64 << 20}


async def test_a_stream_that_becomes_smaller_than_what_it_holds_drops_none_of_it(bus: Bus) -> None:
    before = (await stream_state(bus, streams.FRAMES)).messages
    for _ in range(20):
        await bus.publish("frames.shrinks", bytes(1 << 20), {}, timeout=60)
    await streams.ensure(bus, replace(SIZES, frames_bytes=8 << 20))
    assert (await stream_state(bus, streams.FRAMES)).messages == before + 20
    with pytest.raises(StreamFullError):
        await bus.publish("frames.shrinks", b"x", {}, timeout=60)
    await streams.ensure(bus, SIZES)
    await bus.publish("frames.shrinks", b"x", {}, timeout=60)
    await bus.js.purge_stream(streams.FRAMES, subject="frames.shrinks")


async def test_leases_wait_for_room() -> None:
    leases = Leases()

    class Message:
        reply = "a"
        data = b"0123456789"

    leases.hold(Message())  # type: ignore[arg-type]
    waits = [asyncio.create_task(wait) for wait in (leases.below(1), leases.below(2, 10))]
    await leases.below(2, 11)
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    leases.release(Message())  # type: ignore[arg-type]
    await asyncio.gather(*waits)
    leases.release(Message())  # type: ignore[arg-type]
    assert leases.size_bytes == 0


async def test_a_snapshot_follows_puts_and_deletes(bus: Bus) -> None:
    bucket = await bus.js.key_value(streams.MODELS_BUCKET)
    await bucket.put("a", b"1")
    following = snapshots(bus, streams.MODELS_BUCKET)
    async with asyncio.timeout(60), aclosing(following):
        assert await anext(following) == {"a": b"1"}
        await bucket.put("b", b"2")
        assert await anext(following) == {"a": b"1", "b": b"2"}
        await bucket.delete("a")
        assert await anext(following) == {"b": b"2"}


async def test_a_bucket_whose_content_is_still_under_way_is_not_taken_for_empty(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await bus.js.key_value(streams.MODELS_BUCKET)
    await bucket.put("a", b"1")
    ask = JetStreamContext.PushSubscription.consumer_info

    async def ask_late(self: JetStreamContext.PushSubscription) -> ConsumerInfo:
        await asyncio.sleep(0.1)  # the server has sent all
        return await ask(self)

    monkeypatch.setattr(JetStreamContext.PushSubscription, "consumer_info", ask_late)
    monkeypatch.setattr(JetStreamContext.PushSubscription, "delivered", 0)  # and nothing has come
    async with asyncio.timeout(60), aclosing(snapshots(bus, streams.MODELS_BUCKET)) as following:
        assert (await anext(following))["a"] == b"1"


async def test_an_empty_bucket_is_told_at_once(bus: Bus) -> None:
    await bus.js.create_key_value(bucket="empty")
    async with asyncio.timeout(60), aclosing(snapshots(bus, "empty")) as following:
        assert await anext(following) == {}
