"""Every alert, by its fault done for real, and none of them while nothing is wrong: `make alerts`, half an hour."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from framemesh.mesh.observing import rules
from tests.certificates import Pair
from tests.observability.faults import FAULTS, Fault
from tests.observability.site import Site, names_of, site

HEALTHY_SECONDS = float(os.environ.get("FRAMEMESH_HEALTHY_SECONDS", "0"))
pytestmark = [
    pytest.mark.skipif(not os.environ.get("FRAMEMESH_ALERTS"), reason="takes half an hour: `make alerts`"),
    pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus: Debian's package of that name"),
    pytest.mark.timeout(HEALTHY_SECONDS + 900),
]

_MIB = 1024**2


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A disk of 600 MiB, for frames that wait at the agent."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    with TemporaryDirectory() as folder:
        command = (str(mount), "-t", "tmpfs", "-o", "size=600M", "tmpfs", folder)
        if not (mount and umount) or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("this machine lets us mount nothing")
        yield Path(folder)
        subprocess.run((umount, folder), check=True)


@pytest.fixture(scope="module")
async def running(
    vit: Path, pair: Pair, small_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "data").mkdir()
    (folder / "data" / "spill").symlink_to(small_disk)
    small = {"FRAMEMESH_FRAMES_STREAM_BYTES": str(20 * _MIB), "FRAMEMESH_ANALYZE_IMAGES": "4"}
    async with site(folder, vit, pair, environment=small) as found:
        yield found


async def test_nothing_fires_while_nothing_is_wrong(running: Site) -> None:
    await running.until_quiet()  # a start of ten seconds is five minutes to these rules
    await asyncio.sleep(HEALTHY_SECONDS)
    fired = await running.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{HEALTHY_SECONDS:.0f}s])')
    assert [series["metric"] for series in fired] == []
    stored = await running.query('sum(framemesh_gateway_frames_total{outcome="stored"})')
    print(f"healthy for {HEALTHY_SECONDS:.0f} s: nothing fired while {stored[0]['value'][1]} frames were stored")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_makes_its_alerts_fire_and_its_mending_ends_them(running: Site, fault: Fault) -> None:
    await running.until_quiet()
    began = time.monotonic()
    async with fault.begins(running):
        await running.until_fire(fault.alerts, seconds=400, **fault.of)
        fired = time.monotonic()
        print(f"{fault.name}: after {fired - began:.0f} s {', '.join(names_of(await running.firing()))}")
    await running.until_fire(fault.after)
    await running.until_quiet(seconds=400)
    print(f"  quiet {time.monotonic() - fired:.0f} s after that")


def test_every_alert_has_a_fault() -> None:
    caused = {alert for fault in FAULTS for alert in (*fault.alerts, *fault.after)}
    assert caused == {rule["alert"] for group in rules()["groups"] for rule in group["rules"] if "alert" in rule}
