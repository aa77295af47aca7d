import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats import connect as nats_connect

from framemesh.bus import Bus, streams
from framemesh.client import AsyncClient
from framemesh.errors import FrameNotFoundError
from framemesh.frames import CAPTURED_AT, MESSAGE_ID, FrameId, object_key
from framemesh.lake import Lake
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.result_pb2 import DeadLetter
from tests.gateway.conftest import publish, stored_all, until
from tests.pictures import encoded, jpeg, png_bomb
from tests.stores import STORES


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def last(bus: Bus, stream: str, subject: str) -> Any:
    return await bus.js.get_last_msg(stream, subject)


async def test_a_frame_lies_in_the_lake_under_its_own_key_with_its_metadata(
    client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    frame_id = await publish(bus, "gate", jpeg(1), sequence=7)
    await until(lambda: stored_all(bus))
    body, metadata = await lake.get(object_key(frame_id, "image/jpeg"))
    assert body == jpeg(1)
    assert metadata["width-px"] == "64"
    assert metadata["camera-sequence"] == "7"
    reference = StoredFrame.FromString((await last(bus, streams.STORED, "stored.gate")).data)
    assert reference.frame.frame_id == str(frame_id)
    assert reference.frame.size_bytes == len(jpeg(1))


async def test_a_frame_published_twice_is_stored_once(client: AsyncClient, bus: Bus) -> None:
    before = (await bus.js.stream_info(streams.STORED)).state.last_seq
    frame_id = FrameId("twice", 1_767_225_600_000_000_001)
    for _ in range(2):
        await bus.publish("frames.twice", jpeg(2), {MESSAGE_ID: str(frame_id)}, timeout=60)
    await until(lambda: stored_all(bus))
    assert (await bus.js.stream_info(streams.STORED)).state.last_seq == before + 1


async def test_bare_frames_of_a_client_that_knows_nothing_of_us_are_all_stored(
    client: AsyncClient, nats: str, bus: Bus, lake: Lake
) -> None:
    stranger = await nats_connect(nats)
    for number in range(50):
        await stranger.publish("frames.bare", jpeg(number))
    await stranger.close()
    await until(lambda: stored_count(lake, "bare/", 50))
    bodies = {(await lake.get(key))[0] for key in await lake.keys("bare/")}
    assert bodies == {jpeg(number) for number in range(50)}


async def test_ids_of_a_camera_that_counts_from_one_eat_no_other_frames(
    client: AsyncClient, bus: Bus, lake: Lake
) -> None:
    for camera in ("left", "right"):
        await bus.js.publish(f"frames.{camera}", jpeg(5), headers={MESSAGE_ID: f"{camera}-1", CAPTURED_AT: "yesterday"})
    await until(lambda: stored_all(bus))
    assert len(await lake.keys("left/")) == len(await lake.keys("right/")) == 1


async def test_what_is_no_image_is_dead_lettered_with_its_reason_and_its_bytes(client: AsyncClient, bus: Bus) -> None:
    cases = {
        "text": (b"hello", "INVALID_IMAGE"),
        "empty": (b"", "INVALID_IMAGE"),
        "cut": (jpeg(3)[:-200], "INVALID_IMAGE"),
        "bomb": (png_bomb(60_000, 60_000), "IMAGE_TOO_LARGE"),
    }
    for camera, (body, _) in cases.items():
        await bus.js.publish(f"frames.{camera}", body)
    await until(lambda: stored_all(bus))
    for camera, (body, reason) in cases.items():
        letter = DeadLetter.FromString((await last(bus, streams.DEADLETTERS, f"deadletters.{camera}")).data)
        assert (letter.reason, letter.body, letter.frame.camera) == (reason, body, camera)
        assert letter.message


async def test_a_name_that_no_camera_may_have_is_dead_lettered(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    for name in ("Gate_1", "%2e%2e", "a/b", "x" * 64):
        await bus.js.publish(f"frames.{name}", jpeg(4))
    await until(lambda: stored_all(bus))
    letter = DeadLetter.FromString((await last(bus, streams.DEADLETTERS, "deadletters.a/b")).data)
    assert letter.reason == "INVALID_NAME"
    assert "a-z" in letter.message
    assert await lake.keys("Gate_1/") == []


async def test_a_png_keeps_its_own_kind(client: AsyncClient, bus: Bus, lake: Lake) -> None:
    await bus.js.publish("frames.png", encoded("PNG"))
    await until(lambda: stored_all(bus))
    (key,) = await lake.keys("png/")
    assert key.endswith(".png")


async def test_a_key_that_nobody_stored_is_not_found(client: AsyncClient) -> None:
    for key in ("gate/2026/01/01/00/gate-1767225600000000000.jpg", "nonsense", "../secrets"):
        with pytest.raises(FrameNotFoundError):
            await client.analyze(object_key=key)


async def stored_count(lake: Lake, prefix: str, count: int) -> bool:
    return len(await lake.keys(prefix)) == count


async def test_messages_that_no_client_can_parse_stop_nothing(
    client: AsyncClient, nats: str, bus: Bus, lake: Lake
) -> None:
    url = urlsplit(nats)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    await reader.readline()
    login = {"user": url.username, "pass": url.password, "headers": True, "verbose": False, "pedantic": False}
    writer.write(b"CONNECT " + json.dumps(login).encode() + b"\r\n")
    for header in (b"N\r\n\r\n", b"NATS/1.0 \xff\xff\xff x\r\n\r\n", b"NATS/1.0 100 \xff\xff\r\n\r\n"):
        size = len(header) + len(jpeg(7))
        writer.write(b"HPUB frames.raw %d %d\r\n" % (len(header), size) + header + jpeg(7) + b"\r\n")
    writer.write(b"PUB frames.\xff\xfe %d\r\n" % len(jpeg(8)) + jpeg(8) + b"\r\nPING\r\n")
    while await reader.readline() != b"PONG\r\n":
        pass
    writer.close()
    await writer.wait_closed()
    await publish(bus, "after-raw", jpeg(9))
    await until(lambda: stored_count(lake, "after-raw/", 1))
    await until(lambda: stored_all(bus))
    assert await stored_count(lake, "raw/", 3)
    letter = DeadLetter.FromString((await last(bus, streams.DEADLETTERS, "deadletters.>")).data)
    assert letter.reason == "INVALID_NAME"
