"""Frames go on while parts are killed, frozen and cut off at random; then the stores are counted.

`FRAMEMESH_FAULTS` says how many faults (`make soak`: 200), `FRAMEMESH_FAULTS_SEED` repeats what a run printed.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from framemesh.bus import connect, streams
from framemesh.mesh.joining import read_state
from tests.faults.bench import bench
from tests.faults.faults import FAULTS
from tests.ingest.watching import until
from tests.pictures import jpeg
from tests.stores import STORES

COUNT = int(os.environ.get("FRAMEMESH_FAULTS", "8"))
SEED = int(os.environ.get("FRAMEMESH_FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
LONGEST_SECONDS_BETWEEN = 3.0 if COUNT > 8 else 1.0  # what follows a fault at once is the harder part


@pytest.mark.timeout(300 + 20 * COUNT)
@pytest.mark.parametrize("s3_name", STORES)
async def test_whatever_dies_each_frame_is_stored_and_answered_once(
    s3_name: str, vit: Path, prepare_ahead: Callable[[Path], None], tmp_path: Path
) -> None:
    print(f"{COUNT} faults of seed {SEED}, on {s3_name}")
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    cameras = ("--cameras", "3", "--fps", "10", "--size", "320x240")
    models = ("--model", f"tiny={vit},policy=every", "--model", f"newest={vit},policy=latest")
    prepare_ahead(tmp_path / "data")
    async with bench(tmp_path / "data", s3_name, *cameras, *models) as mesh:
        began = time.monotonic()
        for number in range(1, COUNT + 1):
            await asyncio.sleep(chance.uniform(0, LONGEST_SECONDS_BETWEEN))
            words = await chance.choice(FAULTS)(mesh, chance)
            print(f"{time.monotonic() - began:7.1f} s, fault {number}: {words}", flush=True)
        report, shown = await mesh.finish()
    print(shown)
    print(report)
    frames, every, latest = report["frames"], report["models"]["tiny"], report["models"]["newest"]
    assert frames["stored"] > COUNT
    assert (frames["lost"], frames["duplicates"], frames["dead_lettered"], frames["waiting"]) == (0, 0, 0, 0)
    assert (every["missing"], every["duplicates"], every["failed"], every["waiting"]) == (0, 0, 0, 0)
    assert every["analysed"] == frames["stored"]
    assert (latest["duplicates"], latest["failed"]) == (0, 0)
    assert latest["analysed"] + latest["skipped"] == frames["stored"]


async def test_a_lake_that_is_away_when_the_report_is_counted_is_waited_for(tmp_path: Path) -> None:
    async with bench(tmp_path / "data", "juicefs", "--cameras", "none", "--model", "none") as mesh:
        state = read_state(mesh.folder)
        assert state is not None
        async with connect(state.nats_url, name="tests") as bus:
            await bus.js.publish("frames.gate", jpeg())

            async def stored() -> bool:
                return (await bus.js.stream_info(streams.STORED)).state.messages == 1

            await until(stored)
        await mesh.s3.cut()
        finishing = asyncio.create_task(mesh.finish())
        done, _ = await asyncio.wait({finishing}, timeout=6.0)  # longer than a request to the lake is tried
        assert not done
        await mesh.s3.mend()
        report, _ = await finishing
    assert report["frames"]["stored"] == 1
