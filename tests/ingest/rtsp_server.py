"""An RTSP server as cameras are one (RFC 2326), in a process of its own: it can be killed, frozen and started again.

`python -m tests.ingest.rtsp_server PORT STREAM...`, each STREAM as `PATH=CODEC:WIDTHxHEIGHT[,WIDTHxHEIGHT]@FPS[!]`: the
pictures of `media.GREYS` without end, in real time, of each size in turn; with `!`, a quarter of them is damaged.
FFmpeg's own RTP muxer makes the packets and the sender reports.
"""

import argparse
import asyncio
import hashlib
import itertools
import re
import secrets
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO

import av
from av.packet import Packet
from av.video.stream import VideoStream

from tests.ingest.media import elementary_stream

_REALM = "tests"
_MAX_PACKET_BYTES = 1200
_CODECS = {"h264": ("H264", 96), "hevc": ("H265", 96), "mjpeg": ("JPEG", 26)}
_SENDER_REPORT = 200
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"


@dataclass(frozen=True, slots=True)
class Media:
    """What is shown on a path: encoded pictures, to be repeated."""

    codec: str
    fps: int
    packets: tuple[tuple[bytes, bool], ...]
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "Media":
        codec, sizes, fps, *damaged = re.split("[:@!]", text)
        shapes = [tuple(map(int, size.split("x"))) for size in sizes.split(",")]
        raw = b"".join(elementary_stream(codec, width=width, height=height) for width, height in shapes)
        with av.open(BytesIO(raw), "r", format=codec) as container:
            packets = tuple((bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size)
        if damaged:
            packets = tuple(
                (_damaged(body) if number % 4 == 2 else body, key) for number, (body, key) in enumerate(packets)
            )
        return cls(codec, int(fps), packets, raw)

    def sdp(self) -> str:
        name, kind = _CODECS[self.codec]
        return "\r\n".join((
            "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=tests", "c=IN IP4 0.0.0.0", "t=0 0", f"m=video 0 RTP/AVP {kind}",
            f"a=rtpmap:{kind} {name}/90000",
            *(["a=fmtp:96 packetization-mode=1"] if self.codec == "h264" else []),
            f"a=framerate:{self.fps}", "a=control:track1", "",
        ))  # fmt: skip


@dataclass(slots=True)
class Sink:
    """What FFmpeg's muxer writes its packets to: one a write."""

    send: Callable[[bytes, bool], None]
    """Takes a packet, and whether it is one of RTCP."""
    clock_ahead_seconds: float

    def write(self, data: bytes) -> int:
        packet = bytes(data)
        control = packet[1] == _SENDER_REPORT
        if control:  # by the clock that this camera claims to have
            (seconds,) = struct.unpack(">I", packet[8:12])
            packet = packet[:8] + struct.pack(">I", seconds + round(self.clock_ahead_seconds)) + packet[12:]
        self.send(packet, control)
        return len(data)


async def play(media: Media, sink: Sink) -> None:
    """Send the pictures in real time until cancelled."""
    source = av.open(BytesIO(media.raw), "r", format=media.codec)
    options = {"packetsize": str(_MAX_PACKET_BYTES)}
    with source, av.open(sink, "w", format="rtp", options=options) as muxer:
        stream = muxer.add_stream_from_template(source.streams.video[0])
        assert isinstance(stream, VideoStream)
        began = time.monotonic()
        for number, (body, is_key) in enumerate(itertools.cycle(media.packets)):
            await asyncio.sleep(began + number / media.fps - time.monotonic())
            packet = Packet(body)
            packet.stream, packet.is_keyframe = stream, is_key
            packet.time_base = Fraction(1, 90_000)
            packet.pts = packet.dts = number * 90_000 // media.fps
            muxer.mux(packet)


@dataclass(slots=True)
class Server:
    """Every stream, and who may see them."""

    streams: dict[str, Media]
    user: str
    password: str
    clock_ahead_seconds: float
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while first := await reader.readexactly(1):
                if first == b"$":  # the client's own reports
                    _, length = struct.unpack(">BH", await reader.readexactly(3))
                    await reader.readexactly(length)
                    continue
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                words = dict(re.findall(r"^([\w-]+): *(.*?)\r$", head, re.MULTILINE))
                await reader.readexactly(int(words.get("Content-Length", 0)))
                method, url, _ = head.split(" ", 2)
                status, answer, body = await session.answer(method, url, words)
                lines = [f"RTSP/1.0 {status}", f"CSeq: {words['CSeq']}", *answer, f"Content-Length: {len(body)}"]
                writer.write("\r\n".join((*lines, "", body)).encode())
                session.after_answer()
        session.close()
        writer.close()

    def lets_in(self, method: str, words: dict[str, str]) -> bool:
        """Digest authentication (RFC 2617), as RTSP has it."""
        if not self.user:
            return True
        given = dict(re.findall(r'(\w+)="(.*?)"', words.get("Authorization", "")))
        known = _md5(f"{self.user}:{_REALM}:{self.password}")
        asked = _md5(f"{method}:{given.get('uri')}")
        wanted = _md5(f"{known}:{self.nonce}:{asked}")
        return given.get("response") == wanted


class Session:
    """One client's connection."""

    def __init__(self, server: Server, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._writer = writer
        self._media: Media | None = None
        self._send: Callable[[bytes, bool], None] | None = None
        self._closing: list[Callable[[], object]] = []
        self._starts = False

    async def answer(self, method: str, url: str, words: dict[str, str]) -> tuple[str, list[str], str]:
        """Status, header lines and body."""
        if method == "OPTIONS":
            return "200 OK", [f"Public: {_METHODS}"], ""
        if not self._server.lets_in(method, words):
            demand = f'WWW-Authenticate: Digest realm="{_REALM}", nonce="{self._server.nonce}"'
            return "401 Unauthorized", [demand], ""
        path = re.sub(r"^rtsp://[^/]*", "", url).removesuffix("/").removesuffix("/track1")
        self._media = self._server.streams.get(path.lstrip("/"))
        if self._media is None:
            return "404 Not Found", [], ""
        if method == "DESCRIBE":
            return "200 OK", ["Content-Type: application/sdp", f"Content-Base: {url}/"], self._media.sdp()
        if method == "SETUP":
            return "200 OK", [f"Transport: {await self._set_up(words['Transport'])}", "Session: 1"], ""
        self._starts = method == "PLAY"
        return "200 OK", ["Session: 1"], ""

    def after_answer(self) -> None:
        """What begins only once the client knows of it."""
        if self._starts and self._media is not None and self._send is not None:
            task = asyncio.create_task(play(self._media, Sink(self._send, self._server.clock_ahead_seconds)))
            self._closing.append(task.cancel)
        self._starts = False

    def close(self) -> None:
        for close in self._closing:
            close()

    async def _set_up(self, transport: str) -> str:
        if "interleaved" in transport:
            self._send = self._interleave
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        found = re.search(r"client_port=(\d+)-(\d+)", transport)
        assert found is not None, transport
        loop = asyncio.get_running_loop()
        doors = [
            (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", int(port))))[0]
            for port in found.groups()
        ]
        self._closing += [door.close for door in doors]
        self._send = lambda packet, control: doors[control].sendto(packet)
        ours = "-".join(str(door.get_extra_info("sockname")[1]) for door in doors)
        return f"RTP/AVP;unicast;client_port={found[1]}-{found[2]};server_port={ours}"

    def _interleave(self, packet: bytes, control: bool) -> None:  # noqa: FBT001
        self._writer.write(struct.pack(">cBH", b"$", control, len(packet)) + packet)


def _damaged(body: bytes) -> bytes:
    """The picture with all but its head torn."""
    return body[:8] + bytes(byte ^ 0x5A for byte in body[8:])


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what RFC 2617 asks for


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("streams", nargs="+")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--clock-ahead-seconds", type=float, default=0.0)
    given = parser.parse_args()
    streams = {path: Media.parse(text) for path, text in (stream.split("=") for stream in given.streams)}
    server = Server(streams, given.user, given.password, given.clock_ahead_seconds)
    async with await asyncio.start_server(server.serve, "127.0.0.1", given.port) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
