"""What people say that frames show: checked, published to the stream `CORRECTIONS`, and listed from there."""

import time

import structlog

from framemesh.bus import Bus, corrections
from framemesh.corrections import TASKS, check_label_text, check_objects, task_of
from framemesh.errors import FrameNotFoundError, InvalidRequestError
from framemesh.frames import EXTENSIONS, FrameId, object_key, timestamp
from framemesh.lake import Lake
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1.correction_pb2 import Correction
from framemesh.v1.correction_service_pb2 import CorrectFrameRequest
from framemesh.v1.frame_pb2 import Frame
from gateway.stored import stored_frame

log = structlog.get_logger()

_ACK_SECONDS = 5.0


class Corrector:
    """Takes corrections and gives them back.

    Args:
        bus: Where they go.
        lake: The bucket of the frames that they are about.
    """

    def __init__(self, bus: Bus, lake: Lake) -> None:
        self._bus = bus
        self._lake = lake

    async def correct(self, request: CorrectFrameRequest, *, author: str) -> Correction:
        """Keep what somebody says of a stored frame; saying it again does no harm.

        Raises:
            FrameNotFoundError: The lake has no such frame.
            InvalidRequestError: It says nothing, or what can't be.
            InvalidNameError: The model's name is none.
            BusUnavailableError, LakeUnavailableError: It was not kept, or may not have been: say it again.
        """
        task_of(request)
        if request.model:
            check_label("model", request.model, max_length=MAX_MODEL_LENGTH)
        said = Correction(model=request.model, author=author, frame=await self._frame(request.frame_id))
        if request.HasField("objects"):
            check_objects(request.objects, said.frame)
            said.objects.CopyFrom(request.objects)
        else:
            check_label_text(request.label)
            said.label = request.label
        return await self._publish(said)

    async def remove(self, frame_id: str, task: str, *, author: str) -> list[Correction]:
        """Take back what was said of a frame, for one task or for all; return what was in force.

        Raises:
            FrameNotFoundError: Nothing is said of it.
            InvalidRequestError: That is no frame's id, or no task of corrections.
            BusUnavailableError: Some may be in force still: remove them again.
        """
        if task and task not in TASKS:
            raise InvalidRequestError(f"{task[:80]!r} is none of corrections: use {' or '.join(TASKS)}", field="task")
        wanted = _parsed(frame_id)
        found = await corrections.in_force(
            self._bus, camera=wanted.camera, captured_ns=wanted.captured_ns, task=task or "*", limit=len(TASKS)
        )
        if not found:
            raise FrameNotFoundError(f"nothing is said of frame {frame_id!r} that could be taken back", frame=frame_id)
        for said in found:
            gone = Correction(frame=said.frame, model=said.model, author=author, removed=True)
            if said.HasField("objects"):
                gone.objects.SetInParent()
            else:
                gone.label = ""
            await self._publish(gone)
        return found

    async def newest(self, *, camera: str, frame_id: str, limit: int) -> list[Correction]:
        """Those in force, of one camera or frame or of all, the newest first.

        Raises:
            InvalidNameError, InvalidRequestError: There can be no such camera or frame.
            BusUnavailableError: They can't be read now.
        """
        if frame_id:
            wanted = _parsed(frame_id)
            if camera and camera != wanted.camera:
                return []
            return await corrections.in_force(
                self._bus, camera=wanted.camera, captured_ns=wanted.captured_ns, limit=limit
            )
        return await corrections.in_force(
            self._bus, camera=check_label("camera", camera) if camera else "*", limit=limit
        )

    async def _frame(self, frame_id: str) -> Frame:
        wanted = _parsed(frame_id)
        for content_type in EXTENSIONS:  # cameras mostly send the first
            try:
                frame, _ = await stored_frame(self._lake, object_key(wanted, content_type))
            except FrameNotFoundError:
                continue
            return frame
        raise FrameNotFoundError(
            f"the lake has no frame {frame_id!r}: never stored, or its time was up; `framemesh frames` lists them",
            frame=frame_id,
        )

    async def _publish(self, said: Correction) -> Correction:
        said.correct_time.CopyFrom(timestamp(time.time_ns()))
        await self._bus.publish(corrections.subject(said), said.SerializeToString(), {}, timeout=_ACK_SECONDS)
        log.info(
            "correction.removed" if said.removed else "correction.kept",
            frame_id=said.frame.frame_id,
            task=task_of(said),
            model=said.model,
        )
        return said


def _parsed(text: str) -> FrameId:
    frame_id = FrameId.parse(text)
    if frame_id is None:
        raise InvalidRequestError(
            f"{text[:120]!r} is no frame's id: write <camera>-<capture time in Unix nanoseconds>", field="frame_id"
        )
    check_label("camera", frame_id.camera)
    return frame_id
