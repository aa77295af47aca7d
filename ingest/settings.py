"""What an operator may set on camera agents."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    field_validator,
    model_validator,
)

from framemesh.errors import InvalidNameError
from framemesh.limits import MAX_IMAGE_PIXELS
from framemesh.names import check_label
from framemesh.settings import BusSettings, ServiceSettings
from ingest.pictures import Size

DEFAULT_FPS = 30.0
"""Of what has no pace of its own, where none is asked for."""


def _camera_name(name: str) -> str:
    try:
        return check_label("camera", name)
    except InvalidNameError as error:
        raise ValueError(str(error)) from None  # the only kind of error that pydantic collects


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(_camera_name)]
    """A DNS label; frames go to `frames.<name>`."""
    source: str = Field(min_length=1, repr=False)
    """Where its pictures come from: `rtsp://`, `http://` (MJPEG, snapshots or video), `/dev/video0`, or the path of an
    image (JPEG, PNG, WebP), a folder of images or a video."""
    username: str = ""
    """Who the camera lets in, where the URL doesn't say."""
    password: SecretStr = SecretStr("")
    """Goes with the user name."""
    format: str | None = Field(default=None, pattern=r"^[a-z0-9_,]+$")
    """FFmpeg's name of the input format where it can't be told from the source, such as `v4l2` or `lavfi`."""
    options: dict[str, str] = Field(default_factory=dict)
    """FFmpeg's options for the input, such as `{"input_format": "mjpeg"}` of a USB camera."""
    transport: Literal["tcp", "udp"] = "tcp"
    """What RTSP's pictures travel by."""
    key_frames_only: bool = False
    """Decode the key frames alone: a fraction of the CPU, and a picture every second or so."""
    stall_seconds: float = Field(default=10.0, ge=0.5, le=3600)
    """How long a live camera may send nothing before it is connected to anew."""
    clock: Literal["local", "camera"] = "local"
    """Whose time is a frame's: this machine's when it arrives, or the camera's own where it tells."""
    loop: bool = True
    """A video or a folder begins again after its end; else a video ends, and a folder waits for new files."""
    fps: float | None = Field(default=None, gt=0, le=240)
    """Frames a second at most, which is also the pace of what has none of its own: images and folders, 30 if unset."""
    width_px: int | None = Field(default=None, ge=1, le=16_384)
    """Width of the frames; unset, an image gives 1280 x 720 and any other source its own size."""
    height_px: int | None = Field(default=None, ge=1, le=16_384)
    """Height of the frames; goes with the width."""
    quality: int = Field(default=80, ge=1, le=95)
    """JPEG quality of what is encoded here."""

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("set both width_px and height_px, or neither")
        if (self.width_px or 0) * (self.height_px or 0) > MAX_IMAGE_PIXELS:
            raise ValueError(f"width_px x height_px may be {MAX_IMAGE_PIXELS:,} pixels at most")
        return self

    @property
    def size(self) -> Size | None:
        """The size asked for; none where the source's own will do."""
        return None if self.width_px is None or self.height_px is None else Size(self.width_px, self.height_px)


class IngestSettings(ServiceSettings, BusSettings):
    """What an operator may set on camera agents."""

    cameras: Json[tuple[CameraSettings, ...]]
    """The cameras as a JSON list, such as `[{"name": "gate", "source": "/videos/gate.mp4", "fps": 30}]`."""
    max_in_flight: int = Field(default=64, ge=1, le=4096)
    """Frames of one camera that may wait for NATS to acknowledge them; what comes on top is refused at the camera."""

    @field_validator("cameras")
    @classmethod
    def _check_names(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        if not cameras:
            raise ValueError("name at least one camera")
        twice = sorted(name for name, count in Counter(camera.name for camera in cameras).items() if count > 1)
        if twice:
            raise ValueError(f"camera names must differ; more than once: {', '.join(twice)}")
        return cameras
