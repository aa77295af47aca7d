"""MJPEG and snapshots over HTTP, from a server that does what cameras do."""

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth, web

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError, SourceUnavailableError
from ingest.mjpeg import MjpegSource
from ingest.pictures import Picture
from ingest.settings import CameraSettings
from ingest.shots import Shot, Source, Stalled, Timing
from ingest.sources import open_source
from ingest.videos import VideoSource
from ingest.web import SnapshotSource
from tests.certificates import issue
from tests.ingest.media import GREYS, grey_of, jpeg, video

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server around the block, whose URL it gets."""
    app = web.Application()
    app.add_routes([web.get("/stream", handler)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}/stream"
    finally:
        await runner.cleanup()


def streaming(*pieces: bytes, boundary: str = "frame", then: float = 60.0) -> Handler:
    """Sends these, and then nothing for so long."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": f"multipart/x-mixed-replace; boundary={boundary}"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await asyncio.sleep(then)
        return response

    return handler


def part(body: bytes, *lines: str, length: bool = True, boundary: str = "--frame") -> bytes:
    lines = ("Content-Type: image/jpeg", *([f"Content-Length: {len(body)}"] if length else []), *lines)
    return f"{boundary}\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body + b"\r\n"


async def opened(url: str, **others: object) -> Source:
    camera = CameraSettings.model_validate({"name": "gate", "source": url, **others})
    return await asyncio.to_thread(open_source, camera)


async def read(source: Source) -> Shot:
    shot = await asyncio.to_thread(source.read)
    assert shot is not None
    return shot


def body_of(shot: Shot) -> bytes:
    assert isinstance(shot.content, Picture)
    return shot.content.body


JPEGS = [jpeg(grey) for grey in GREYS]


@pytest.mark.parametrize("lengths", ["told", "not told"])
@pytest.mark.parametrize("boundary", ["frame", "--frame"])
async def test_every_picture_comes_byte_for_byte(boundary: str, lengths: str) -> None:
    pieces = [part(body, length=lengths == "told") for body in JPEGS]
    async with serving(streaming(*pieces, b"--frame\r\n", boundary=boundary)) as url:
        source = await opened(url)
        assert isinstance(source, MjpegSource)
        assert source.timing is Timing.LIVE
        assert [body_of(await read(source)) for _ in JPEGS] == JPEGS
        source.close()


async def test_what_lies_between_the_parts_is_passed_over() -> None:
    garbage = bytes(range(256)) * 50 + b"\r\n"
    pieces = [garbage, part(JPEGS[0]), garbage, b"\r\n\r\n", part(JPEGS[1]), garbage * 100, part(JPEGS[2])]
    async with serving(streaming(*pieces)) as url:
        source = await opened(url)
        assert [body_of(await read(source)) for _ in range(3)] == JPEGS[:3]
        source.close()


async def test_a_part_that_is_no_picture_or_too_large_is_told_and_the_next_is_read() -> None:
    pieces = [part(b"no picture"), part(JPEGS[0]), part(bytes(9 << 20), length=False), part(JPEGS[1])]
    async with serving(streaming(*pieces)) as url:
        source = await opened(url)
        with pytest.raises(InvalidImageError):
            await read(source)
        assert body_of(await read(source)) == JPEGS[0]
        with pytest.raises(ImageTooLargeError):
            await read(source)
        assert body_of(await read(source)) == JPEGS[1]
        source.close()


@pytest.mark.parametrize("line", ["X-Timestamp: 1767225600.25", "x-timestamp:1767225600.250000"])
async def test_a_part_may_say_when_it_was_taken(line: str) -> None:
    async with serving(streaming(part(JPEGS[0], line), part(JPEGS[1]))) as url:
        source = await opened(url)
        assert [(await read(source)).captured_ns for _ in range(2)] == [1_767_225_600_250_000_000, None]
        source.close()


async def test_a_camera_that_sends_nothing_more_stalls_and_one_that_hangs_up_is_lost() -> None:
    async with serving(streaming(part(JPEGS[0]), part(JPEGS[1])[:100])) as url:
        source = await opened(url, stall_seconds=2)
        await read(source)
        with pytest.raises(Stalled):
            await read(source)
        source.close()
    async with serving(streaming(part(JPEGS[0]), then=0)) as url:
        source = await opened(url)
        await read(source)
        with pytest.raises(SourceUnavailableError, match="closed the connection"):
            await read(source)
        source.close()


async def test_garbage_without_end_is_no_stream() -> None:
    async with serving(streaming(*[b"x" * (1 << 20) + b"\n"] * 40)) as url:
        source = await opened(url)
        with pytest.raises(SourceUnavailableError, match="no picture"):
            await read(source)
        source.close()


async def test_a_snapshot_is_asked_for_each_time() -> None:
    bodies = iter(JPEGS)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=next(bodies), content_type="image/jpeg", headers={"X-Timestamp": "1767225600.5"})

    async with serving(handler) as url:
        source = await opened(url)
        assert isinstance(source, SnapshotSource)
        shots = [await read(source) for _ in JPEGS]
        source.close()
    assert [body_of(shot) for shot in shots] == JPEGS
    assert {shot.captured_ns for shot in shots} == {1_767_225_600_500_000_000}


async def test_a_video_on_a_web_server_is_shown_in_its_own_time(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4")

    async def handler(_: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    async with serving(handler) as url:
        source = await opened(url)
        assert isinstance(source, VideoSource)
        assert [(await read(source)).at_seconds for _ in range(3)] == pytest.approx([0, 0.04, 0.08])
        await asyncio.to_thread(source.close)


def digest_of(request: web.Request, user: str, password: str) -> bool:
    """Whether the request answers the demand of `digest`."""
    given = dict(re.findall(r'(\w+)="?([^",]+)', request.headers.get("Authorization", "")))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what RFC 2617 asks for

    known, asked = md5(f"{user}:camera:{password}"), md5(f"GET:{given.get('uri')}")
    return given.get("response") == md5(f"{known}:1a2b:{asked}")


@pytest.mark.parametrize("scheme", ["basic", "digest"])
async def test_a_camera_lets_in_who_knows_its_password(scheme: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        basic = request.headers.get("Authorization") == encode_basic_auth("viewer", "p@ss")
        if basic if scheme == "basic" else digest_of(request, "viewer", "p@ss"):
            return web.Response(body=JPEGS[0], content_type="image/jpeg")
        demand = 'Basic realm="camera"' if scheme == "basic" else 'Digest realm="camera", nonce="1a2b"'
        return web.Response(status=401, headers={"WWW-Authenticate": demand})

    async with serving(handler) as url:
        source = await opened(url.replace("://", "://viewer:p%40ss@"))
        assert grey_of(body_of(await read(source))) == GREYS[0]
        source.close()
        for login in ({"username": "viewer", "password": "wrong"}, {}):
            with pytest.raises(ConfigurationError, match="refuses the login") as caught:
                await opened(url, **login)
            assert "wrong" not in repr(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [(404, ConfigurationError, "nothing at this path"), (503, SourceUnavailableError, "answers 503")],
)
async def test_what_a_server_answers_instead_is_told(status: int, kind: type[Exception], words: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(handler) as url:
        with pytest.raises(kind, match=words):
            await opened(url)


async def test_where_nothing_listens_and_who_is_unknown_is_told() -> None:
    with pytest.raises(SourceUnavailableError, match="nothing listens there"):
        await opened("http://127.0.0.1:1/stream")
    with pytest.raises(SourceUnavailableError, match="no host of this name"):
        await opened("http://camera.invalid/stream")


async def test_a_certificate_must_be_trusted_unless_it_is_not_to_be_looked_at(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert, pair.key)
    async with serving(streaming(part(JPEGS[0])), tls) as url:
        with pytest.raises(ConfigurationError, match=r"isn't trusted here.*verify_tls: false"):
            await opened(url)
        source = await opened(url, verify_tls=False)
        assert body_of(await read(source)) == JPEGS[0]
        source.close()


async def test_a_web_page_is_no_source() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>a camera's menu</html>", content_type="text/html")

    async with serving(handler) as url:
        with pytest.raises(ConfigurationError, match=r"no video|no picture"):
            await opened(url, stall_seconds=5)
