"""What an operator may set on camera agents."""

from collections import Counter
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, field_validator, model_validator

from framemesh.errors import InvalidNameError
from framemesh.limits import MAX_IMAGE_PIXELS
from framemesh.names import check_label
from framemesh.settings import BusSettings, ServiceSettings
from ingest.pictures import Size


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
    source: str = Field(min_length=1)
    """Path of an image (JPEG, PNG, WebP), a folder of images, or a video."""
    fps: float = Field(default=30.0, gt=0, le=240)
    """Frames a second."""
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
