"""What people say of frames, through a real gateway and an archiver into the lake's table."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archiver.app import archiver
from archiver.settings import ArchiverSettings
from framemesh.bus import Bus, streams
from framemesh.bus.archive import archived_until, write_now
from framemesh.bus.states import stream_state
from framemesh.cli import app
from framemesh.client import AsyncClient
from framemesh.errors import FrameNotFoundError, InvalidNameError, InvalidRequestError, PermissionDeniedError
from framemesh.frames import FrameId, object_key
from framemesh.lake import Lake
from framemesh.query import LakePlace, Rows, tables
from framemesh.v1.answer_pb2 import Box
from framemesh.v1.correction_pb2 import CorrectedObject, CorrectedObjects
from gateway.app import Gateway, gateway
from gateway.settings import GatewaySettings
from tests.gateway.conftest import until
from tests.gateway.test_access import READER, bearing, entry
from tests.pictures import encoded, jpeg

ANNOTATOR, OPERATOR = "l" * 32, "o" * 32
NOON_NS = 1_790_000_000 * 1_000_000_000


@pytest.fixture(scope="module")
async def guarded(settings: GatewaySettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(entry("board", "read", READER) + entry("ann", "label", ANNOTATOR) + entry("o", "admin", OPERATOR))
    async with gateway(settings.model_copy(update={"tokens_file": tokens})) as running:
        yield running


@pytest.fixture
async def client(guarded: Gateway) -> AsyncIterator[AsyncClient]:
    async with bearing(guarded, ANNOTATOR) as client:
        yield client


async def stored(lake: Lake, camera: str, number: int = 0, content_type: str = "image/jpeg") -> str:
    """A frame of 64 x 48 pixels in the lake."""
    frame_id = FrameId(camera, NOON_NS + number)
    body = jpeg(number) if content_type == "image/jpeg" else encoded("PNG", number)
    await lake.put(object_key(frame_id, content_type), body, content_type=content_type, metadata={})
    return str(frame_id)


def boxed(label: str, *edges: float) -> CorrectedObjects:
    box = Box(x_min_px=edges[0], y_min_px=edges[1], x_max_px=edges[2], y_max_px=edges[3])
    return CorrectedObjects(objects=[CorrectedObject(label=label, box=box)])


async def table(settings: GatewaySettings, bus: Bus, sql: str) -> Rows:
    """Ask the lake, once everything said is in its table."""
    own = ArchiverSettings(
        nats_url=settings.nats_url,
        s3_endpoint=settings.s3_endpoint,
        s3_access_key=settings.s3_access_key,
        s3_secret_key=settings.s3_secret_key,
    )
    async with archiver(own):

        async def whole() -> bool:
            await write_now(bus)
            stream = await stream_state(bus, streams.CORRECTIONS)
            return await archived_until(bus, "corrections", stream) == stream.last

        await until(whole, seconds=60)
    place = LakePlace(
        settings.s3_endpoint, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    )
    with tables(place) as lake:
        return lake.ask(sql)


async def test_the_last_word_on_a_frame_counts_and_says_whose_it_is(client: AsyncClient, lake: Lake) -> None:
    frame_id = await stored(lake, "last")
    await client.correct(frame_id, "cat")
    kept = await client.correct(frame_id, "lynx", model="vit")
    assert (kept.label, kept.author, kept.model, kept.frame.frame_id) == ("lynx", "ann", "vit", frame_id)
    assert kept.frame.object_key == object_key(FrameId("last", NOON_NS), "image/jpeg")
    assert await client.corrections(camera="last") == [kept]
    assert await client.corrections(frame_id=frame_id) == [kept]


async def test_a_frame_has_a_class_and_objects_side_by_side(client: AsyncClient, lake: Lake) -> None:
    frame_id = await stored(lake, "both", content_type="image/png")
    await client.correct(frame_id, "street")
    await client.correct(frame_id, boxed("car", 1, 2, 30.5, 40))
    assert [one.WhichOneof("truth") for one in await client.corrections(frame_id=frame_id)] == ["objects", "label"]
    (gone,) = await client.remove_correction(frame_id, task="object-detection")
    assert gone.objects.objects[0].label == "car"
    assert [one.label for one in await client.corrections(frame_id=frame_id)] == ["street"]
    await client.correct(frame_id, CorrectedObjects())
    assert len(await client.remove_correction(frame_id)) == 2
    with pytest.raises(FrameNotFoundError, match="nothing is said"):
        await client.remove_correction(frame_id)


async def test_the_newest_come_first_and_no_more_than_wanted(client: AsyncClient, lake: Lake) -> None:
    ids = [await stored(lake, "many", number) for number in range(5)]
    for frame_id in ids:
        await client.correct(frame_id, "x")
    await client.correct(ids[0], "y")
    found = await client.corrections(camera="many", limit=3)
    assert [one.frame.frame_id for one in found] == [ids[0], ids[4], ids[3]]
    with pytest.raises(InvalidRequestError, match="limit"):
        await client.corrections(limit=1001)


@pytest.mark.parametrize(
    "truth",
    [
        "", " ", "a" * 257, "bell\x07", "two\nlines", "\u202eevil",
        boxed("", 1, 1, 2, 2), boxed("x", 5, 1, 2, 2), boxed("x", -1, 1, 2, 2), boxed("x", 1, 1, 65, 2),
        boxed("x", 1, 1, float("nan"), 2), boxed("x", 1, 1, float("inf"), 2), boxed("x", 1, 1, 50, 60),
        CorrectedObjects(objects=[boxed("x", 1, 1, 2, 2).objects[0]] * 1001),
    ],
)  # fmt: skip
async def test_what_nobody_means_is_refused(client: AsyncClient, lake: Lake, truth: str | CorrectedObjects) -> None:
    with pytest.raises(InvalidRequestError):
        await client.correct(await stored(lake, "hostile"), truth)
    assert await client.corrections(camera="hostile") == []


async def test_only_stored_frames_are_corrected(client: AsyncClient) -> None:
    with pytest.raises(FrameNotFoundError, match="framemesh frames"):
        await client.correct(f"nowhere-{NOON_NS}", "cat")
    for nonsense in ("", "gate", "gate-1", "../../etc-1790000000000000000", f"GATE-{NOON_NS}", f"*-{NOON_NS}"):
        with pytest.raises((InvalidRequestError, InvalidNameError)):
            await client.correct(nonsense, "cat")
        with pytest.raises((InvalidRequestError, InvalidNameError)):
            await client.remove_correction(nonsense)
    with pytest.raises(InvalidNameError):
        await client.correct(f"gate-{NOON_NS}", "cat", model="no model")
    with pytest.raises(InvalidRequestError, match="object-detection"):
        await client.remove_correction(f"gate-{NOON_NS}", task="*")


async def test_who_only_reads_corrects_nothing(guarded: Gateway, lake: Lake) -> None:
    frame_id = await stored(lake, "guarded")
    async with bearing(guarded, READER) as reader:
        with pytest.raises(PermissionDeniedError, match="role label"):
            await reader.correct(frame_id, "cat")
        with pytest.raises(PermissionDeniedError):
            await reader.remove_correction(frame_id)
        assert await reader.corrections(camera="guarded") == []
    async with bearing(guarded, OPERATOR) as operator:
        assert (await operator.correct(frame_id, "dog")).author == "o"


async def test_the_lake_keeps_every_word_and_shows_what_counts(
    client: AsyncClient, lake: Lake, bus: Bus, settings: GatewaySettings
) -> None:
    kept, gone = await stored(lake, "kept"), await stored(lake, "gone")
    await client.correct(kept, "cat", model="vit")
    await client.correct(kept, "dog")
    await client.correct(kept, boxed("car", 1, 2, 3, 4))
    await client.correct(gone, "cat")
    await client.remove_correction(gone)
    in_force = """SELECT frame_id, task, label, objects, author FROM corrections
        WHERE camera IN ('kept', 'gone') ORDER BY task"""
    found = await table(settings, bus, in_force)
    objects = [{"name": "car", "x_min_px": 1.0, "y_min_px": 2.0, "x_max_px": 3.0, "y_max_px": 4.0}]
    assert found.rows == [
        (kept, "image-classification", "dog", [], "ann"),
        (kept, "object-detection", None, objects, "ann"),
    ]
    ever = """SELECT label, model, removed FROM corrections_files
        WHERE camera IN ('kept', 'gone') ORDER BY correct_time"""
    found = await table(settings, bus, ever)
    assert found.rows == [
        ("cat", "vit", False), ("dog", None, False), (None, None, False), ("cat", None, False), ("", None, True),
    ]  # fmt: skip


def run(running: Gateway, *arguments: str) -> tuple[int, str]:
    env = {"FRAMEMESH_ADDRESS": f"127.0.0.1:{running.grpc_port}", "FRAMEMESH_TOKEN": ANNOTATOR, "COLUMNS": "200"}
    done = CliRunner().invoke(app, list(arguments), env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


async def test_the_command_corrects_lists_and_takes_back(guarded: Gateway, lake: Lake) -> None:
    frame_id = await stored(lake, "cli")
    key = object_key(FrameId("cli", NOON_NS), "image/jpeg")

    async def command(*arguments: str) -> str:
        code, printed = await asyncio.to_thread(run, guarded, *arguments)
        assert code == 0, printed
        return printed

    assert f"{frame_id}  image-classification  cat\n" in await command("correct", frame_id, "--label", "cat")
    assert "car, van" in await command("correct", key, "--box", "car=1,2,3,4", "--box", "van=5,6,7.5,8")
    listed = await command("corrections", "list", "--frame", key)
    assert [line.split()[0] for line in listed.splitlines()[-3:]] == ["frame", frame_id, frame_id]
    assert "no object" in await command("correct", key, "--nothing")
    assert frame_id in await command("corrections", "remove", key, "--task", "object-detection")
    assert '"label":' in (await command("corrections", "list", "--camera", "cli", "--json")).replace(" ", "")
    for wrong in (("correct", key), ("correct", key, "--label", "x", "--nothing"), ("correct", key, "--box", "car=1")):
        assert (await asyncio.to_thread(run, guarded, *wrong))[0] == 2


async def test_strangers_messages_in_the_stream_are_passed_over(client: AsyncClient, lake: Lake, bus: Bus) -> None:
    frame_id = await stored(lake, "strange")
    await bus.publish(f"corrections.strange.{NOON_NS + 1}.x", b"\xff\xff", {}, timeout=30)
    await bus.publish(f"corrections.strange.{NOON_NS + 2}.x", b"", {}, timeout=30)
    kept = await client.correct(frame_id, "cat")
    assert await client.corrections(camera="strange") == [kept]


def test_notes_on_the_data_directory_are_not_needed(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["corrections", "list", "--data-dir", str(tmp_path)], env={"FRAMEMESH_ADDRESS": ""})
    assert "no mesh runs" in str(done.exception)
