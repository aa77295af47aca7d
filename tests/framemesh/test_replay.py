"""`framemesh replay` as a user runs it, against services that are processes of their own, counted from the stores."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import psutil
import pytest

from framemesh.bus import Bus, streams
from framemesh.bus.reading import between
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, headers, subject
from framemesh.lake import Lake
from framemesh.mesh import processes
from framemesh.mesh.servers import HOST, free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.query import LakePlace, tables
from framemesh.v1.result_pb2 import Result
from tests.gateway.conftest import deploy, serving_model, until
from tests.pictures import jpeg

COUNT = int(os.environ.get("FRAMEMESH_REPLAY_FRAMES", "300"))
CAMERAS = ("gate", "yard", "roof")
FIRST_NS = 1_780_000_000_000_000_000  # 2026-05-28T20:26:40Z
FRAMES = [FrameId(CAMERAS[number % 3], FIRST_NS + number * 10**9) for number in range(COUNT)]
EACH_ONCE = Counter(map(str, FRAMES))


@dataclass(frozen=True, slots=True)
class Mesh:
    """A gateway and an archiver that run, over frames that are stored."""

    supervisor: Supervisor
    client: AsyncClient
    env: Mapping[str, str]

    async def replay(self, *words: str) -> tuple[int, str]:
        """Run the command to its end; returns its status and all that it printed."""
        process = await self.start(*words)
        out, _ = await asyncio.wait_for(process.communicate(), 120)
        return int(process.returncode or 0), out.decode()

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", "framemesh", "replay", *words)
        return await asyncio.create_subprocess_exec(
            *command, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )

    async def kill(self, name: str) -> None:
        killed = self.supervisor.pids()[name]
        psutil.Process(killed).kill()
        await until(lambda: self.supervisor.pids().get(name, killed) != killed)


@pytest.fixture(scope="module")
def place(s3: dict[str, str]) -> LakePlace:
    return LakePlace(s3["FRAMEMESH_S3_ENDPOINT"], s3["FRAMEMESH_S3_ACCESS_KEY"], s3["FRAMEMESH_S3_SECRET_KEY"])


@pytest.fixture(scope="module")
async def mesh(
    supervisor: Supervisor, nats: str, s3: dict[str, str], bus: Bus, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mesh]:
    grpc_port = free_port()
    env = {"FRAMEMESH_NATS_URL": nats, **s3}
    await supervisor.start(processes.gateway(env, grpc_port=grpc_port, http_port=free_port(), drain_seconds=5))
    await supervisor.start(processes.archiver(env, http_port=free_port()))
    for number, frame_id in enumerate(FRAMES):
        words = headers(frame_id, content_type="image/jpeg", width_px=64, height_px=48, sequence=number)
        await bus.publish(subject(frame_id.camera), jpeg(number), words, timeout=30)

    async def all_stored() -> bool:
        return (await bus.js.stream_info(streams.STORED)).state.messages == COUNT

    await until(all_stored, seconds=120)
    user = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRAMEMESH_")},
        **s3,
        "FRAMEMESH_ADDRESS": f"{HOST}:{grpc_port}",
        "FRAMEMESH_DATA_DIR": str(tmp_path_factory.mktemp("nothing")),
    }
    async with AsyncClient(user["FRAMEMESH_ADDRESS"]) as client:
        await deploy(client, bus, "first=x,camera=none")
        yield Mesh(supervisor, client, user)


async def told(bus: Bus, model: str) -> Counter[str]:
    """How often the stream of results has each frame of a model."""
    newest = (await bus.js.stream_info(streams.RESULTS)).state.last_seq
    found = [Result.FromString(message.data) async for message in between(bus, streams.RESULTS, 1, newest)]
    return Counter(result.frame.frame_id for result in found if result.answer.model == model)


async def stores(bus: Bus, lake: Lake, place: LakePlace, model: str) -> tuple[int, int, int, int]:
    """Objects in the bucket, results in the stream, and rows of both tables as their files hold them."""
    with tables(place) as found:
        ((frames,),) = found.ask("SELECT count(*) FROM frames_files").rows
        ((results,),) = found.ask("SELECT count(*) FROM results_files WHERE model = $model", model=model).rows
    return len(await lake.keys("")), (await told(bus, model)).total(), frames, results


async def test_a_second_replay_changes_nothing_and_all_stores_agree(
    mesh: Mesh, bus: Bus, lake: Lake, place: LakePlace
) -> None:
    async with serving_model(bus, "first") as model:
        status, out = await mesh.replay("--model", "first", "--json")
        assert status == 0, out
        assert json.loads(out.splitlines()[-1]) == {
            "model": "first", "frames": COUNT, "succeeded": COUNT, "failed": 0, "replayed": COUNT, "gone": 0,
        }  # fmt: skip
        assert await stores(bus, lake, place, "first") == (COUNT, COUNT, COUNT, COUNT)
        asked = len(model.requests)
        before = {stream: (await bus.js.stream_info(stream)).state.last_seq for stream in ("RESULTS", "DEADLETTERS")}
        status, out = await mesh.replay("--model", "first")
        assert (status, out) == (0, f"first has answered {COUNT:,} of {COUNT:,} frames, 0 just now\n")
        assert len(model.requests) == asked
    after = {stream: (await bus.js.stream_info(stream)).state.last_seq for stream in ("RESULTS", "DEADLETTERS")}
    assert before == after
    assert await stores(bus, lake, place, "first") == (COUNT, COUNT, COUNT, COUNT)


async def test_a_shadow_is_replayed_into_its_own_table(mesh: Mesh, bus: Bus, place: LakePlace) -> None:
    await deploy(mesh.client, bus, "next=x,camera=none,shadow=true")
    async with serving_model(bus, "next"):
        status, out = await mesh.replay("--model", "next", "--camera", "gate")
        assert (status, out.splitlines()[-1]) == (
            0,
            f"next has answered {COUNT // 3} of {COUNT // 3} frames, {COUNT // 3} just now",
        )
        status, out = await mesh.replay("--model", "next", "--camera", "gate")
        assert out.endswith(", 0 just now\n")
    with tables(place) as found:
        counts = [
            found.ask(f"FROM {table} SELECT count(*), sum(replayed::INT) WHERE model = 'next'").rows[0]
            for table in ("shadows", "results")
        ]
    assert counts == [(COUNT // 3, COUNT // 3), (0, None)]
    assert not await told(bus, "next")


async def test_only_the_frames_asked_for(mesh: Mesh, bus: Bus) -> None:
    await deploy(mesh.client, bus, "some=x,camera=none")
    async with serving_model(bus, "some"):
        one_minute = ("--since", "2026-05-28T20:26:40", "--until", "2026-05-28T20:27:39.5")
        status, out = await mesh.replay("--model", "some", "--camera", "gate", "--camera", "yard", *one_minute)
    assert status == 0, out
    cameras = Counter(frame_id.rpartition("-")[0] for frame_id in await told(bus, "some"))
    assert cameras == {"gate": 20, "yard": 20}


async def test_with_again_another_versions_answers_and_failures_are_redone_once(
    mesh: Mesh, bus: Bus, place: LakePlace
) -> None:
    few = ("--model", "anew", "--camera", "roof", "--until", "2026-05-28T20:27:40")
    await deploy(mesh.client, bus, "anew=x,camera=none")
    async with serving_model(bus, "anew") as model:
        model.fails = lambda image: ValueError("a fault of the server") if image == jpeg(2) else None
        status, out = await mesh.replay(*few)
        assert "has answered 19 of 20 frames, 20 just now" in out, out
        assert "failed on 1" in out
        model.fails = lambda _: None
        status, out = await mesh.replay(*few, "--again")
        assert (status, out) == (0, "anew has answered 20 of 20 frames, 1 just now\n")
    async with serving_model(bus, "anew", version="2") as model:
        status, out = await mesh.replay(*few, "--again")
        assert (status, out) == (0, "anew has answered 20 of 20 frames, 20 just now\n")
        status, out = await mesh.replay(*few, "--again")
        assert (status, out) == (0, "anew has answered 20 of 20 frames, 0 just now\n")
    with tables(place) as found:
        assert found.ask("SELECT model_version, count(*) FROM results WHERE model = 'anew' GROUP BY 1").rows == [
            ("2", 20)
        ]


async def test_interrupted_it_says_so_and_the_same_command_goes_on(mesh: Mesh, bus: Bus) -> None:
    await deploy(mesh.client, bus, "halved=x,camera=none")
    async with serving_model(bus, "halved") as model:
        model.delay = 0.02
        process = await mesh.start("--model", "halved")
        await until(lambda: more_than(bus, "halved", 20))
        model.delay = 0.5  # it must not be done before it hears of it
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 130, out
        assert b"are left, with which the same command goes on" in out
        assert b"Traceback" not in out
        assert 20 < len(await told(bus, "halved")) < COUNT
        model.delay = 0.0
        status, out_again = await mesh.replay("--model", "halved")
        assert status == 0, out_again
    assert await told(bus, "halved") == EACH_ONCE


async def test_killed_itself_and_over_a_killed_gateway_every_frame_is_answered_once(mesh: Mesh, bus: Bus) -> None:
    await deploy(mesh.client, bus, "hard=x,camera=none")
    async with serving_model(bus, "hard") as model:
        model.delay = 0.02
        process = await mesh.start("--model", "hard")
        await until(lambda: len(model.requests) > 20)
        process.kill()
        await process.wait()
        process = await mesh.start("--model", "hard")
        answered = len(await told(bus, "hard"))
        await until(lambda: more_than(bus, "hard", answered + 20))
        await mesh.kill("gateway")
        model.delay = 0.0
        out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out
    assert f"has answered {COUNT:,} of {COUNT:,} frames".encode() in out
    assert await told(bus, "hard") == EACH_ONCE


async def test_over_a_model_server_that_goes_and_comes_every_frame_is_answered(mesh: Mesh, bus: Bus) -> None:
    await deploy(mesh.client, bus, "away=x,camera=none")
    async with serving_model(bus, "away") as model:
        model.delay = 0.02
        process = await mesh.start("--model", "away")
        await until(lambda: len(model.requests) > 20)
    async with serving_model(bus, "away", replica="1"):
        out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out
    assert await told(bus, "away") == EACH_ONCE


async def more_than(bus: Bus, model: str, count: int) -> bool:
    return len(await told(bus, model)) > count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "nobody"), "no model 'nobody'; deployed: "),
        (("--model", "first", "--camera", "attic"), "no frames of camera 'attic'; it has those of: gate, roof, yard"),
        (("--model", "first", "--since", "yesterday"), "is no time"),
        (("--model", "first", "--share", "0"), "greater than or equal to 0.01"),
        (("--model", "first", "--again"), "no server of model 'first' answers"),
        (("--model", "first", "--address", "127.0.0.1:1"), "127.0.0.1:1"),
    ],
)
async def test_what_can_not_be_done_is_said_in_a_line(mesh: Mesh, words: tuple[str, ...], said: str) -> None:
    status, out = await mesh.replay(*words)
    assert status != 0
    assert said in " ".join(out.replace("│", " ").split())
    assert "Traceback" not in out


async def test_no_frames_are_no_work(mesh: Mesh) -> None:
    status, out = await mesh.replay("--model", "first", "--until", "2001-01-01")
    assert (status, out) == (0, "first has answered 0 of 0 frames, 0 just now\n")


async def test_a_frame_that_the_lake_has_no_more_is_told_and_nothing_is_written_about_it(
    mesh: Mesh, bus: Bus, lake: Lake
) -> None:
    gone = (await lake.keys("yard/"))[0]
    body, metadata = await lake.get(gone)
    await lake.delete(gone)
    await deploy(mesh.client, bus, "late=x,camera=none")
    async with serving_model(bus, "late"):
        for just_now in (COUNT // 3 - 1, 0):
            status, out = await mesh.replay("--model", "late", "--camera", "yard")
            assert status == 0, out
            assert f"has answered {COUNT // 3 - 1} of {COUNT // 3} frames, {just_now} just now" in out
            assert "1 are in the lake no more" in out
    assert len(await told(bus, "late")) == COUNT // 3 - 1
    await lake.put(gone, body, content_type="image/jpeg", metadata=metadata)
