"""How the mesh is, asked of NATS, of the lake and of the registry at the moment somebody wants to know."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import nats.errors
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.errors import NotFoundError

from framemesh.bus import Bus, streams
from framemesh.bus.archive import TABLES, archived_until
from framemesh.bus.states import StreamState, stream_state, unfinished
from framemesh.errors import BusUnavailableError, LakeUnavailableError
from framemesh.frames import SUBJECT_PREFIX
from framemesh.lake import Lake
from framemesh.names import is_label
from framemesh.v1 import status_service_pb2 as pb2
from framemesh.v1.frame_pb2 import StoredFrame
from framemesh.v1.model_pb2 import Model
from gateway.problems import problems
from gateway.registry import Registry

_STREAMS = (
    streams.FRAMES, streams.STORED, streams.RESULTS, streams.SHADOWS, streams.CORRECTIONS, streams.DEADLETTERS,
)  # fmt: skip
_STORED_PREFIX = "stored."
_AT_ONCE = 16
_LAKE_SECONDS = 2.0  # whoever looks should see that it hangs, not hang with it
_AWAY = (BusUnavailableError, nats.errors.Error, TimeoutError)


class Status:
    """Looks when asked, and keeps nothing.

    Args:
        bus: Where frames, references and results are.
        lake: The bucket of frames.
        registry: What is deployed and who serves it.
        storing_problem: Says what went wrong where the last frame could not be stored.
    """

    def __init__(self, bus: Bus, lake: Lake, registry: Registry, storing_problem: Callable[[], str | None]) -> None:
        self._bus = bus
        self._lake = lake
        self._registry = registry
        self._storing_problem = storing_problem

    async def look(self) -> pb2.GetStatusResponse:
        """The mesh now. Never fails: what doesn't answer is a problem in the answer."""
        now = datetime.now(UTC)
        found = pb2.GetStatusResponse(time=_timestamp(now))
        words = await asyncio.gather(self._ask_bus(found), self._ask_lake(found))
        found.problems.extend(word for word in words if word)
        # What went wrong last here may be over: another gateway may have stored the frames meanwhile.
        waiting = any(stream.message_count for stream in found.streams if stream.name == streams.FRAMES)
        if waiting and found.lake_answers and (problem := self._storing_problem()):
            found.problems.append(f"frames wait in NATS, as they can't be stored: {problem}")
        found.problems.extend(problems(found, now))
        return found

    async def _ask_lake(self, found: pb2.GetStatusResponse) -> str:
        try:
            async with asyncio.timeout(_LAKE_SECONDS):
                await self._lake.check()
        except TimeoutError:
            return f"the lake did not answer in {_LAKE_SECONDS:g} s; until it does, frames wait in NATS"
        except LakeUnavailableError as error:
            return f"{error}; until it does, frames wait in NATS"
        found.lake_answers = True
        return ""

    async def _ask_bus(self, found: pb2.GetStatusResponse) -> str:
        """Fill in all that NATS and the registry know; what could not be asked is told in words."""
        models = self._registry.models()
        if (problem := self._bus.problem()) is not None:
            found.models.extend(pb2.ModelStatus(model=model) for model in models)
            return f"the gateway is {problem}: nothing is stored or answered until it is again"
        try:
            states = {
                state.name: state
                for state in await asyncio.gather(
                    *(
                        stream_state(self._bus, name, subjects=name in {streams.FRAMES, streams.STORED})
                        for name in _STREAMS
                    )
                )
            }
            found.bus_answers = True
            found.streams.extend(_stream(state) for state in states.values())
            found.tables.extend([await self._table(table, states[stream]) for table, stream in TABLES.items()])
            found.cameras.extend(await self._cameras(states[streams.FRAMES], states[streams.STORED]))
            found.models.extend(await asyncio.gather(*(self._model(model) for model in models)))
        except _AWAY as error:
            return f"NATS doesn't answer in full: {str(error) or type(error).__name__}"
        return ""

    async def _cameras(self, frames: StreamState, stored: StreamState) -> list[pb2.CameraStatus]:
        names = {subject.removeprefix(SUBJECT_PREFIX) for subject in frames.subjects}
        names |= {subject.removeprefix(_STORED_PREFIX) for subject in stored.subjects}
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(name: str) -> pb2.CameraStatus:
            async with room:
                newest = await self._newest(f"{_STORED_PREFIX}{name}")
            return pb2.CameraStatus(
                camera=name, waiting_frame_count=frames.subjects.get(f"{SUBJECT_PREFIX}{name}", 0), newest_frame=newest
            )

        return list(await asyncio.gather(*(look(name) for name in sorted(names) if is_label(name))))

    async def _newest(self, subject: str) -> StoredFrame | None:
        try:
            message = await self._bus.js.get_last_msg(streams.STORED, subject)
            return StoredFrame.FromString(message.data or b"")
        except (NotFoundError, DecodeError):  # not one yet, or none of ours
            return None

    async def _model(self, model: Model) -> pb2.ModelStatus:
        try:
            info = await self._bus.js.consumer_info(streams.STORED, streams.model_consumer(model.spec.name))
        except NotFoundError:  # just deployed, or just deleted
            return pb2.ModelStatus(model=model)
        return pb2.ModelStatus(model=model, waiting_frame_count=unfinished(info))

    async def _table(self, name: str, stream: StreamState) -> pb2.TableStatus:
        archived = await archived_until(self._bus, name, stream)
        following = max(archived + 1, stream.first)
        if following > stream.last:
            return pb2.TableStatus(name=name)
        try:
            first = await self._bus.js.get_msg(stream.name, following)
        except NotFoundError:
            since = stream.oldest_time
        else:
            since = first.time
        return pb2.TableStatus(
            name=name,
            waiting_message_count=stream.last + 1 - following,
            waiting_since_time=_timestamp(since) if since else None,
        )


def _stream(state: StreamState) -> pb2.StreamStatus:
    return pb2.StreamStatus(
        name=state.name,
        message_count=state.messages,
        size_bytes=state.size_bytes,
        limit_bytes=state.limit_bytes,
        oldest_time=_timestamp(state.oldest_time) if state.oldest_time else None,
    )


def _timestamp(time: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made
