"""KServe's unmodified client against a real server."""

import asyncio
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from framemesh.folders import made_once
from tests.model_server.servers import serving, settings

REQUIREMENT = "kserve==0.21.0"
ENVIRONMENT = Path(__file__).parents[3] / ".kserve" / REQUIREMENT


@pytest.fixture(scope="module")
def kserve() -> Path:
    """The Python of an environment with KServe's package, which takes half a minute to make once.

    What it needs is taken from our own environment, wherever the version there suits it; pip installs the rest.
    """
    with made_once(ENVIRONMENT, intact=lambda folder: (folder / "ready").exists()) as unfinished:
        if unfinished is not None:
            subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", unfinished], check=True)
            python = unfinished / "bin" / "python"
            packages = sysconfig.get_path("purelib", vars={"base": str(unfinished)})
            Path(packages, "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
            pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
            subprocess.run([*pip, REQUIREMENT], check=True)
            (unfinished / "ready").touch()
    return ENVIRONMENT / "bin" / "python"


@pytest.mark.timeout(900)
async def test_kserves_client_is_answered(vit: Path, cache: Path, photos: Path, kserve: Path) -> None:
    script = Path(__file__).with_name("kserve_client.py")
    async with serving(settings(vit, cache)) as client:
        asking = await asyncio.create_subprocess_exec(
            kserve, script, str(client.grpc_port), photos / "chelsea.png", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asking.communicate()
    assert asking.returncode == 0
    found = json.loads(output)
    assert found["live"] and found["ready"] and found["model_ready"]  # noqa: PT018 - one answer
    assert found["raw"]["id"] == "7"
    assert np.shape(found["raw"]["logits"]) == (2, 10)
    assert found["typed"] == found["raw"]
    assert found["image"]["classification"]["labels"][0]["name"].startswith("kind ")
    assert (found["unknown"], found["misshapen"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
