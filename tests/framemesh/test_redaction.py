"""Secrets in what real services log, and in what the libraries below them log."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framemesh.mesh.servers import HOST, free_port
from framemesh.telemetry.redaction import STARS, Redaction

ENVIRONMENT = {
    "FRAMEMESH_NATS_URL": "nats://gateway:n4ts-pass%2Fword@nats:4222",
    "FRAMEMESH_S3_SECRET_KEY": 'quo"ted\\secret',
    "FRAMEMESH_TOKEN": "tokentokentoken",
    "FRAMEMESH_CAMERAS": '[{"source": "rtsp://admin:c4mera-pass@cam/1", "nats_password": "ag3nt-pass"}]',
    "FRAMEMESH_S3_ACCESS_KEY": "framemesh",
    "HOME": "/home/somebody",
}


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("can't open rtsp://admin:hunter2@10.0.0.7:554/live", f"can't open rtsp://{STARS}@10.0.0.7:554/live"),
        ("rtsp://admin:p@ss@cam/1 and nats://u:w@b:1,nats://u:w@c:2", "***@cam"),
        ("rtsp://admin:pa/ss@cam:554/1", "rtsp://***@cam:554/1"),
        ("GET /snapshot?user=admin&pwd=hunter2&size=1", "GET /snapshot?user=admin&pwd=***&size=1"),
        ("http://cam/mjpeg?access_token=hunter2", "http://cam/mjpeg?access_token=***"),
        ("s3.amazonaws.com/x?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2", "X-Amz-Signature=***"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("headers {'authorization': 'Basic aHVudGVyMg=='}", "Basic ***"),
        ("connect(password='hunter2', user='x')", "connect(password=***, user='x')"),
        ('{"secret_key": "hunter2 hunter2"}', '{"secret_key": ***}'),
        ("it was n4ts-pass/word, or n4ts-pass%2Fword", "it was ***, or ***"),
        ("told 'quo\"ted\\\\secret' and quo\"ted\\secret", "told '***' and ***"),
        ("c4mera-pass, ag3nt-pass, tokentokentoken", "***, ***, ***"),
    ],
)
def test_secrets_are_taken_out(text: str, safe: str) -> None:
    found = Redaction(ENVIRONMENT).text(text)
    assert safe in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "text",
    [
        "no connection to the model server at 127.0.0.1:50052",
        "nats://127.0.0.1:4222",
        "http://s3:9000/frames/gate/2026/01/01/00/gate-1767225600000000000.jpg",
        "a token that framemesh does not know: set FRAMEMESH_TOKEN",
        "the basic idea, and somebody@example.org",
        "/home/somebody/framemesh-data",
        "state=1 keys=3 monkey=banana",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redaction(ENVIRONMENT).text(text) == text


def test_what_is_made_to_take_long_takes_no_time() -> None:
    """Each of these took hours, in which an event loop did nothing else."""
    for hostile in ("://a:", "://a:1", "?token", "bearer ", "password='"):
        Redaction(ENVIRONMENT).text(hostile * 200_000)


def test_values_of_any_shape_are_looked_into() -> None:
    event = {
        "event": "odd",
        "size_bytes": 7,
        "share": 0.5,
        "well": True,
        "none": None,
        "servers": ["nats://u:hunter2@a", ("nats://u:hunter2@b",)],
        "facts": {"url": "rtsp://u:hunter2@cam"},
        "error": ValueError("password=hunter2"),
    }
    found = Redaction({})(None, "info", dict(event))
    assert "hunter2" not in repr(found)
    assert {key: found[key] for key in ("size_bytes", "share", "well", "none")} == {
        "size_bytes": 7, "share": 0.5, "well": True, "none": None,
    }  # fmt: skip


LIBRARIES = """
import asyncio, logging, warnings
from framemesh.telemetry import logs

logs.configure("debug", service="test")
url = "nats://u:hunter2@nats:4222"
for name in ("nats.aio.client", "aiohttp.server", "grpc._cython.cygrpc", "asyncio", "uvicorn.error"):
    try:
        raise ConnectionError(f"refused by {url}")
    except ConnectionError:
        logging.getLogger(name).exception("lost %s", url)
warnings.warn(f"don't use {url}")

async def fails(password="hunter2"):
    raise RuntimeError(f"with {url}")

async def main():
    asyncio.create_task(fails())
    await asyncio.sleep(0.01)

asyncio.run(main())
raise SystemError(f"at the end: {url}")
"""


def test_lines_of_libraries_and_of_what_ends_the_process_are_like_our_own_and_have_no_secrets() -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=False, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line["event"] for line in lines].count("lost nats://***@nats:4222") == 5
    loggers = {line["logger"] for line in lines if "logger" in line}
    assert loggers >= {"nats.aio.client", "grpc._cython.cygrpc", "asyncio", "py.warnings"}
    assert all({"service", "level", "timestamp"} <= line.keys() for line in lines)
    assert lines[-1]["event"] == "process.failed"
    assert "SystemError: at the end: nats://***@nats:4222" in lines[-1]["exception"]
    assert "hunter2" not in done.stderr


async def _logged(service: str, until: str, **variables: str) -> list[dict[str, Any]]:
    """What a real service writes until a line has the words, or it ends. Every line is one of ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", service, env={**os.environ, **variables}, stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            async for line in process.stderr:
                lines.append(line.decode())
                if until in lines[-1]:
                    break
    finally:
        if process.returncode is None:
            process.kill()
        rest, _ = await process.communicate()
    lines += (rest or b"").decode().splitlines()
    assert any(until in line for line in lines), lines
    assert not [line for line in lines if "hunter2" in line]
    return [json.loads(line) for line in lines]


async def test_a_gateway_that_nats_refuses_does_not_log_its_password(nats: str, s3: dict[str, str]) -> None:
    url = f"nats://tester:hunter2hunter2@{nats.partition('@')[2]}"
    lines = await _logged("gateway", "service.failed", FRAMEMESH_LOG_LEVEL="debug", **{**s3, "FRAMEMESH_NATS_URL": url})
    assert "refuses the credentials" in lines[-1]["error"]


async def test_a_gateway_that_s3_refuses_does_not_log_its_key(nats: str, s3: dict[str, str]) -> None:
    variables = {**s3, "FRAMEMESH_S3_SECRET_KEY": "hunter2hunter2", "FRAMEMESH_NATS_URL": nats}
    await _logged("gateway", "service.failed", FRAMEMESH_LOG_LEVEL="debug", **variables)


async def test_cameras_that_can_not_be_opened_are_logged_without_their_passwords(nats: str, tmp_path: Path) -> None:
    nobody = f"{HOST}:{free_port()}"
    sources = (
        f"rtsp://admin:hunter2@{nobody}/live",
        f"http://{nobody}/mjpeg?token=hunter2",
        f"http://a:hunter2@{nobody}/",
    )
    cameras = [{"name": f"cam-{number}", "source": source} for number, source in enumerate(sources)]
    lines = await _logged(
        "ingest", "cam-0", FRAMEMESH_NATS_URL=nats, FRAMEMESH_CAMERAS=json.dumps(cameras), FRAMEMESH_LOG_LEVEL="debug"
    )
    assert lines
