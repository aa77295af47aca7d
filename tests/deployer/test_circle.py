"""The whole circle: from what cameras saw to a better model in service, by the commands that people type.

The long form (`make train-circle`) trains all of EfficientNet-Lite0 at its own size, on more pictures.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from framemesh.bus import Bus, streams
from framemesh.client import AsyncClient
from framemesh.frames import FrameId, headers, subject
from framemesh.mesh import processes
from framemesh.mesh.servers import free_port
from framemesh.mesh.supervision import Supervisor
from framemesh.specs import parse
from tests.deployer.conftest import PutVersion, deploying, settled, until
from tests.deployer.traffic import traffic
from tests.trainer.signs import CLASSES, SIZE, picture

LONG = bool(os.environ.get("FRAMEMESH_CIRCLE"))
PICTURES = 150 if LONG else 26  # of each class
EDGE = 224 if LONG else 160  # of the base's input, in pixels
CHOICES = (
    ("--epochs", "8") if LONG else ("--head-only", "--epochs", "3", "--batch-size", "8", "--learning-rate", "0.01")
)
CAMERAS = ("north", "east", "south", "west")
FIRST_NS = 1_790_000_000_000_000_000
MINUTE_NS = 60_000_000_000


@pytest.fixture(scope="module")
async def user(
    address: str, supervisor: Supervisor, nats: str, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, str]]:
    """The variables of somebody who works with a mesh whose archiver and deployer run, too."""
    env = {"FRAMEMESH_NATS_URL": nats, **s3}
    await supervisor.start(processes.archiver(env, http_port=free_port()))
    folder = tmp_path_factory.mktemp("circle")
    async with deploying(folder, {**env, "FRAMEMESH_WORKERS": "1"}):
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith("FRAMEMESH_")},
            **s3,
            "FRAMEMESH_ADDRESS": address,
            "FRAMEMESH_DATA_DIR": str(tmp_path_factory.mktemp("user")),
            "OMP_NUM_THREADS": "2",
        }


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 with its ImageNet weights, for pictures of this test's size."""
    from demo.models import make

    folder = tmp_path_factory.mktemp("base") / "lite0"
    make("efficientnet-lite0", folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": {"height": EDGE, "width": EDGE}}))
    return folder


async def framemesh(user: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    """Run a command to its end; returns its status, what it printed, and what it said besides."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "framemesh", *words, env=dict(user),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return int(process.returncode or 0), out.decode(), err.decode()


async def seen_by_cameras(bus: Bus, photos: Path) -> dict[str, str]:
    """Publish the pictures as frames of four cameras, each a minute after the last; returns what each frame shows."""
    shown = {}
    for number in range(PICTURES * len(CLASSES)):
        label = CLASSES[number % len(CLASSES)]
        frame_id = FrameId(CAMERAS[number // len(CLASSES) % len(CAMERAS)], FIRST_NS + number * MINUTE_NS)
        body, _ = picture(label, number, photos)
        fields = headers(frame_id, content_type="image/jpeg", width_px=SIZE[0], height_px=SIZE[1], sequence=number)
        await bus.publish(subject(frame_id.camera), body, fields, timeout=30)
        shown[str(frame_id)] = label

    async def all_stored() -> bool:
        return (await bus.js.stream_info(streams.STORED)).state.messages >= len(shown)

    await until(all_stored)
    return shown


async def has_answered(bus: Bus, model: str, count: int, *, shadow: bool) -> bool:
    info = await bus.js.stream_info(
        streams.results_stream(shadow=shadow), subjects_filter=streams.result_subject(model, "*", shadow=shadow)
    )
    return sum((info.state.subjects or {}).values()) >= count


@pytest.mark.timeout(3600 if LONG else 1500)
async def test_from_stored_frames_to_a_better_model_in_service_without_a_failed_call(
    client: AsyncClient, bus: Bus, user: dict[str, str], lite0: Path, version: PutVersion, photos: Path
) -> None:
    shown = await seen_by_cameras(bus, photos)
    for frame_id, label in shown.items():  # people say what the frames show
        await client.correct(frame_id, label)

    dataset = "lake://datasets/signs/1"
    status, out, err = await framemesh(
        user, "dataset", "export", dataset, "--labels", "corrections", "--split", "0.7,0.1,0.2"
    )
    assert status == 0, err
    status, out, err = await framemesh(
        user, "train", "--dataset", dataset, "--base", str(lite0), "--name", "signs", "--json", *CHOICES
    )
    assert status == 0, err
    print(err, out)
    (untrained,) = [line for line in err.splitlines() if line.startswith("untrained")]
    done = json.loads(out.splitlines()[-1])
    assert float(untrained.partition("accuracy ")[2].split(",")[0]) < 0.6  # by chance it is a quarter
    assert done["scores"]["overall"]["value"] > 0.9

    wish = await client.deploy_model(parse(f"signs={await version('old')},policy=every,start=1d"))
    await settled(client, wish, "READY", ready=1)
    shadow = ("--name", "signs-next", "--shadow", "--policy", "every", "--start", "1d")
    status, out, err = await framemesh(user, "deploy", done["source"], *shadow)
    assert status == 0, err
    await until(lambda: has_answered(bus, "signs", len(shown), shadow=False))
    await until(lambda: has_answered(bus, "signs-next", len(shown), shadow=True))

    enough = ("--min-frames", str(len(shown) // 2))
    async with traffic(client, bus, "signs") as seen:
        await seen.more(20)
        status, out, err = await framemesh(
            user, "promote", "signs-next", "--to", "signs", "--min-agreement", "0.9", *enough
        )
        assert (status, "not promoted: they agree on" in err) == (1, True), err
        status, out, err = await framemesh(
            user, "promote", "signs-next", "--to", "signs", "--min-accuracy-gain", "0.5", *enough
        )
        assert status == 0, err
        print(out)
        await seen.more(20)
        (model,) = await client.models()  # the shadow is gone
        promoted = model.status.serving
        assert (model.spec.name, promoted.source) == ("signs", done["source"])
        assert promoted.spec.origin.reason.startswith("promoted from signs-next: accuracy ")
        assert [release.model_version for release in model.status.previous] == ["old"]
        assert seen.versions[-1] == promoted.model_version
        status, out, err = await framemesh(user, "rollback", "signs")
        assert status == 0, err
        await seen.more(20)
    assert seen.errors == []
    assert list(dict.fromkeys(seen.versions)) == ["old", promoted.model_version]
    assert seen.versions[-1] == "old"
    print(f"{len(seen.versions)} calls, none failed")
    await client.delete("signs")
