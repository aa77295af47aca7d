"""What all browsers share: one subscription to frames and answers, and each small picture made once.

It listens only while somebody watches. A plain subscription takes nothing from the stream's own consumers, and making
pictures rests three times as long as it takes, so that a machine that is busy with the pipeline stays with it.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from console.drawing import drawing
from console.live.choosing import Choice, choose
from console.live.recent import RecentAnswers, RecentFrames, Said, Shot
from console.live.tiles import Picture, tile, whole
from console.live.watcher import Update, View, Watcher
from console.metrics import ConsoleMetrics
from framemesh.bus import Bus
from framemesh.errors import FramemeshError
from framemesh.frames import FRAME_ID, MESSAGE_ID, SUBJECT_PREFIX, arrival
from framemesh.v1.result_pb2 import Result
from framemesh.waiting import until_set

_MIB = 1024 * 1024
_FRAME_BYTES = 64 * _MIB
_ANSWER_BYTES = 32 * _MIB
_SMALL_PX, _MEDIUM_PX, _LARGE_PX = 320, 640, 1600
_FEW_CAMERAS = 4
_MAX_WHOLE_BYTES = _MIB
_KEPT_PICTURES = 128
_INTERVAL_SECONDS = 0.1
_TURN_SECONDS = 0.02
_REST = 3.0
_LINGER_SECONDS = 5.0
_GONE_SECONDS = 600.0
_LOOK_SECONDS = 0.2


class Hub:
    """Shows cameras to watchers. Run it beside the pages."""

    name = "live"

    def __init__(self, bus: Bus, metrics: ConsoleMetrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self.frames = RecentFrames(_FRAME_BYTES)
        self._answers = RecentAnswers(_ANSWER_BYTES)
        self._watchers: set[Watcher] = set()
        self._pictures: OrderedDict[tuple[int, int], Picture] = OrderedDict()  # by the frame's number and width
        self._shown_ns: dict[tuple[str, View], int] = {}
        self._due: dict[tuple[str, View], float] = {}
        self._stopping = asyncio.Event()

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """A watcher for as long as the block lasts."""
        watcher = Watcher()
        self._watchers.add(watcher)
        self._metrics.watchers.inc()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            self._metrics.watchers.dec()

    async def run(self) -> None:
        """Listen while somebody watches, until stopped."""
        await until_set(self._stopping, self._serve())

    def stop(self) -> None:
        """Show nothing more."""
        self._stopping.set()

    async def _serve(self) -> None:
        while True:
            while not self._looked_at():
                await asyncio.sleep(_LOOK_SECONDS)
            listening = await self._listen()
            try:
                last = time.monotonic()
                while time.monotonic() < last + _LINGER_SECONDS:
                    if self._looked_at():
                        last = time.monotonic()
                    self._forget_what_is_over()
                    await self._round()
                    await asyncio.sleep(_TURN_SECONDS)
            finally:
                for subscription in listening:
                    if not self._bus.client.is_closed:
                        await subscription.unsubscribe()
                self._forget()

    def _looked_at(self) -> bool:
        return any(watcher.awake for watcher in self._watchers)

    async def _listen(self) -> list[Subscription]:
        return [
            await self._bus.client.subscribe(f"{SUBJECT_PREFIX}*", cb=self._frame),
            await self._bus.client.subscribe("results.*.*", cb=self._result),
        ]

    async def _frame(self, message: Msg) -> None:
        headers = message.headers or {}
        try:
            came = arrival(message.subject, headers, stream_time=datetime.now(UTC), stream_sequence=0)
        except FramemeshError:
            return  # no camera's name
        frame_id = str(came.frame_id)
        named = frame_id in {headers.get(FRAME_ID), headers.get(MESSAGE_ID)}
        shot = Shot(came.frame_id.camera, came.frame_id.captured_ns, frame_id if named else "", message.data)
        self.frames.add(shot, time.monotonic())

    async def _result(self, message: Msg) -> None:
        try:
            result = Result.FromString(message.data)
        except DecodeError:
            return
        if result.replayed:
            return
        frame = result.frame
        self.frames.name(frame)
        said = Said(frame.frame_id, frame.capture_time.ToNanoseconds(), result.answer, len(message.data))
        self._answers.add(frame.camera, said)

    async def _round(self) -> None:
        """Look once at each camera for each kind of view."""
        views: defaultdict[View, list[Watcher]] = defaultdict(list)
        for watcher in self._watchers:
            if watcher.awake and watcher.ready:
                views[watcher.view].append(watcher)
        for view, watchers in views.items():
            for camera in [view.camera] if view.camera else self.frames.cameras():
                await self._show(camera, view, watchers)

    async def _show(self, camera: str, view: View, watchers: list[Watcher]) -> None:
        now = time.monotonic()
        key = (camera, view)
        if now < self._due.get(key, 0.0):
            return
        said = {model: self._answers.of(camera, model) for model in view.models}
        choice = choose(self.frames.of(camera), said, not_before_ns=self._shown_ns.get(key, 0))
        if choice is None:
            return
        behind = [watcher for watcher in watchers if watcher.seen.get(camera) != choice.signature]
        if not behind:
            return
        self._due[key] = now + _INTERVAL_SECONDS
        self._shown_ns[key] = choice.shot.captured_ns
        try:
            picture = await self._picture(choice.shot, alone=view.camera is not None)
        except FramemeshError:
            return  # no picture: the gateway dead-letters it
        update = _update(choice, picture)
        for watcher in behind:
            if watcher.view == view:
                watcher.seen[camera] = choice.signature
                watcher.offer(update)

    async def _picture(self, shot: Shot, *, alone: bool) -> Picture:
        """The frame as it is shown; made once, and kept for whoever comes next."""
        if alone and len(shot.body) <= _MAX_WHOLE_BYTES:
            return whole(shot.body)
        few = len(self.frames.cameras()) <= _FEW_CAMERAS
        width = _LARGE_PX if alone else _MEDIUM_PX if few else _SMALL_PX
        known = self._pictures.get((shot.number, width))
        if known is None:
            began = time.monotonic()
            known = self._pictures[shot.number, width] = await asyncio.to_thread(tile, shot.body, width)
            took = time.monotonic() - began
            self._metrics.picture_seconds.observe(took)
            while len(self._pictures) > _KEPT_PICTURES:
                self._pictures.popitem(last=False)
            await asyncio.sleep(min(_INTERVAL_SECONDS, _REST * took))
        return known

    def _forget_what_is_over(self) -> None:
        now = time.monotonic()
        cameras = self.frames.cameras()
        self.frames.forget(one for one in cameras if (self.frames.silent_seconds(one, now) or 0.0) > _GONE_SECONDS)
        views = {watcher.view for watcher in self._watchers}
        for kept in (self._shown_ns, self._due):
            for key in [key for key in kept if key[1] not in views]:
                del kept[key]

    def _forget(self) -> None:
        self.frames = RecentFrames(_FRAME_BYTES)
        self._answers = RecentAnswers(_ANSWER_BYTES)
        for kept in (self._pictures, self._shown_ns, self._due):
            kept.clear()


def _update(choice: Choice, picture: Picture) -> Update:
    parts: list[bytes] = []

    def keep(png: bytes) -> int:
        parts.append(png)
        return len(parts) - 1

    shot = choice.shot
    drawings = tuple(
        {**drawing(said.answer, keep), "older_ms": max(0, shot.captured_ns - said.captured_ns) // 1_000_000}
        for said in choice.said
    )
    return Update(shot.camera, shot.frame_id, shot.captured_ns, picture, drawings, tuple(parts))
