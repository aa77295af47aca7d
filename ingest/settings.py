"""What an operator may set on camera agents."""

import re
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

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

from framemesh.errors import ConfigurationError, InvalidNameError
from framemesh.limits import MAX_IMAGE_PIXELS
from framemesh.names import MAX_CAMERA_LENGTH, check_label, to_label
from framemesh.settings import BusSettings, ServiceSettings
from ingest.masks import Mask
from ingest.pictures import Size

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "rtp", "udp", "tcp")
"""Of the URLs that may be a source."""
DEFAULT_FPS = 30.0
"""Of what has no pace of its own, where none is asked for."""
DEFAULT_QUALITY = 80

_PATHS = ("password_file", "nats_password_file", "nats_credentials_file")

EdgePixels = Annotated[int, Field(ge=1, le=16_384)]


def _camera_name(name: str) -> str:
    try:
        return check_label("camera", name)
    except InvalidNameError as error:
        near = to_label(name, max_length=MAX_CAMERA_LENGTH)
        mend = f", such as {near!r}" if near else ""
        raise ValueError(f"{error}{mend}") from None  # the only kind of error that pydantic collects


def _source(source: str) -> str:
    scheme, colon, _ = source.partition("://")
    if not colon:
        return source
    if scheme not in SCHEMES:
        swapped = [known for known in SCHEMES if sorted(known) == sorted(scheme.lower())]
        near = swapped or get_close_matches(scheme.lower(), SCHEMES, 1)
        raise ValueError(
            f"no source begins with {scheme[:20]}://"
            + (f"; did you mean {near[0]}://?" if near else f": use a path, or a URL of {', '.join(SCHEMES)}")
        )
    try:
        url = urlsplit(source)
        sound = bool(url.hostname) and url.port != 0 and not any(character.isspace() for character in source)
    except ValueError:  # of the port, or the brackets of an address
        sound = False
    if not sound:
        raise ValueError(
            f"this URL can't be opened: write {scheme}://host:port/path, and special characters of a password as %XX"
        )
    return source


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(_camera_name)]
    """A DNS label; frames go to `frames.<name>`."""
    source: Annotated[str, Field(min_length=1, repr=False), AfterValidator(_source)]
    """Where its pictures come from: `rtsp://`, `http://` (MJPEG, snapshots or video), `/dev/video0`, or the path of an
    image (JPEG, PNG, WebP), a folder of images or a video. User and password in a URL become `username` and
    `password`."""

    format: str | None = Field(default=None, pattern=r"^[a-z0-9_,]+$")
    """FFmpeg's name of the input format where it can't be told from the source, such as `v4l2` or `lavfi`."""
    options: Mapping[str, str] = Field(default_factory=dict)
    """FFmpeg's options for the input, such as `{input_format: mjpeg}` of a USB camera."""
    transport: Literal["tcp", "udp"] = "tcp"
    """What RTSP's pictures travel by."""
    username: str | None = None
    """Who logs in at the source."""
    password: SecretStr | None = None
    """That user's password. Printed as stars everywhere."""
    password_file: Path | None = None
    """File with the password, read at each connection."""
    verify_tls: bool = True
    """Talk over TLS only to a source whose certificate is trusted here."""
    stall_seconds: float = Field(default=10.0, ge=0.5, le=3600)
    """How long a live camera may send nothing before it is connected to anew."""
    loop: bool = True
    """A video or a folder begins again after its end; else a video ends, and a folder waits for new files."""
    key_frames_only: bool = False
    """Decode the key frames alone: a fraction of the CPU, and a picture every second or so."""
    clock: Literal["local", "camera"] = "local"
    """Whose time is a frame's: this machine's when it arrives, or the camera's own where it tells."""

    fps: float | None = Field(default=None, gt=0, le=240)
    """Frames a second at most, which is also the pace of what has none of its own: images and folders, 30 if unset."""
    width_px: EdgePixels | None = None
    """Width of the frames, whose middle is cut out where the shape differs; unset, an image gives 1280 x 720 and any
    other source its own size."""
    height_px: EdgePixels | None = None
    """Height of the frames; goes with the width."""
    max_width_px: EdgePixels | None = None
    """Largest width; a wider frame is scaled down and keeps its shape."""
    max_height_px: EdgePixels | None = None
    """Largest height, likewise."""
    quality: int | None = Field(default=None, ge=1, le=95)
    """JPEG quality. Set, a JPEG from the camera is encoded anew where it is finer; unset, it isn't, and what has to be
    encoded gets 80."""
    rotate: Literal[0, 90, 180, 270] = 0
    """Degrees clockwise, on top of what the source itself says."""
    masks: tuple[Mask, ...] = Field(default=(), max_length=64)
    """Regions that are blacked out before anything leaves the agent."""
    min_change: float | None = Field(default=None, gt=0, le=1)
    """A frame is sent only where this share of the picture differs from the last one sent; unset, every frame is."""
    max_silence_seconds: float = Field(default=10.0, gt=0, le=86_400)
    """With `min_change`, a frame is sent all the same once the last one is so old."""

    spill_bytes: int = Field(default=1 << 30, ge=0)
    """Disk for frames that wait while NATS is away, under the agent's spill folder; 0 for none."""
    spill_keep: Literal["oldest", "newest"] = "oldest"
    """Which frames stay where that is full."""
    nats_username: str | None = None
    """The camera's own user at NATS, who may publish its subject alone; unset, the agent's connection is used."""
    nats_password: SecretStr | None = None
    """That user's password. Printed as stars everywhere."""
    nats_password_file: Path | None = None
    """File with that password."""
    nats_credentials_file: Path | None = None
    """The camera's own `.creds` file for NATS, instead of user and password."""

    @model_validator(mode="before")
    @classmethod
    def _split_url(cls, given: Any) -> Any:
        """Take user and password out of the URL, so that no log or error can show them."""
        if not (isinstance(given, dict) and isinstance(given.get("source"), str)):
            return given
        place, login = without_login(given["source"])
        if login is None:
            return given
        twice = sorted({"username", "password", "password_file"} & given.keys())
        if twice:
            raise ValueError(f"the source's URL has user and password already: leave out {' and '.join(twice)}")
        user, password = login
        return {**given, "source": place, "username": user, **({"password": password} if password else {})}

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("set both width_px and height_px, or neither")
        if (self.width_px or 0) * (self.height_px or 0) > MAX_IMAGE_PIXELS:
            raise ValueError(f"width_px x height_px may be {MAX_IMAGE_PIXELS:,} pixels at most")
        if self.width_px is not None and (self.max_width_px or self.max_height_px) is not None:
            raise ValueError("width_px and height_px say the size already: leave out max_width_px and max_height_px")
        return self

    @model_validator(mode="after")
    def _check_logins(self) -> Self:
        for prefix in ("", "nats_"):
            user, password, file = (getattr(self, prefix + part) for part in ("username", "password", "password_file"))
            if password is not None and file is not None:
                raise ValueError(f"set either {prefix}password or {prefix}password_file")
            if user is None and (password is not None or file is not None):
                raise ValueError(f"{prefix}password needs {prefix}username")
        if self.nats_credentials_file is not None and self.nats_username is not None:
            raise ValueError("set either nats_credentials_file or nats_username")
        return self

    @property
    def size(self) -> Size | None:
        """The exact size asked for; none where the source's own will do."""
        return None if self.width_px is None or self.height_px is None else Size(self.width_px, self.height_px)

    @property
    def encoding_quality(self) -> int:
        """JPEG quality of what is encoded here."""
        return DEFAULT_QUALITY if self.quality is None else self.quality

    @property
    def place(self) -> str:
        """The source as logs may show it: a URL's query often holds a token, or somebody's password."""
        return self.source.partition("?")[0] if "://" in self.source else self.source

    def in_folder(self, folder: Path) -> Self:
        """The same camera, its paths relative to a folder."""
        paths = {field: folder / path for field in _PATHS if (path := getattr(self, field)) is not None}
        if "://" not in self.source and self.format is None:
            return self.model_copy(update={**paths, "source": str(folder / self.source)})
        return self.model_copy(update=paths)

    def login(self) -> tuple[str, str] | None:
        """User and password at the source; none where it asks for none. Reads the password's file.

        Raises:
            ConfigurationError: The file can't be read.
        """
        return _login(self.username, self.password, self.password_file, field="password_file")

    def nats_login(self) -> tuple[str, str] | None:
        """The camera's own user and password at NATS, likewise.

        Raises:
            ConfigurationError: The file can't be read.
        """
        return _login(self.nats_username, self.nats_password, self.nats_password_file, field="nats_password_file")


def without_login(source: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its user and password, and these."""
    scheme, colon, rest = source.partition("://")
    login, at, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if not (colon and at):
        return source, None
    user, _, password = login.partition(":")
    return f"{scheme}://{rest[len(login) + 1 :]}", (unquote(user), unquote(password))


def _login(user: str | None, password: SecretStr | None, file: Path | None, *, field: str) -> tuple[str, str] | None:
    if user is None:
        return None
    if file is None:
        return user, "" if password is None else password.get_secret_value()
    try:
        return user, file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise ConfigurationError(f"{field}: {file} can't be read: {why}", path=file) from None


def check_names(cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
    """Return the cameras if no two have the same name.

    Raises:
        ValueError: Two have.
    """
    twice = sorted(name for name, count in Counter(camera.name for camera in cameras).items() if count > 1)
    if twice:
        raise ValueError(f"camera names must differ; more than once: {', '.join(twice)}")
    return cameras


class IngestSettings(ServiceSettings, BusSettings):
    """What an operator may set on camera agents."""

    cameras: Json[tuple[CameraSettings, ...]] = Field(default=(), validate_default=False)
    """The cameras as a JSON list, such as `[{"name": "gate", "source": "/videos/gate.mp4", "fps": 30}]`."""
    cameras_file: Path | None = None
    """The cameras as a YAML file instead, which is read again whenever it changes."""
    spill_folder: Path | None = None
    """Where frames wait on disk while NATS is away; unset, they wait in memory alone."""
    spill_leave_bytes: int = Field(default=1 << 28, ge=0)
    """How much of that disk they leave free."""
    max_in_flight: int = Field(default=64, ge=1, le=4096)
    """Frames of one camera under way to NATS at once; what comes on top waits on disk, or as many again in memory."""

    @field_validator("cameras")
    @classmethod
    def _check_cameras(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        if not cameras:
            raise ValueError("name at least one camera")
        return check_names(cameras)

    @model_validator(mode="after")
    def _check_one_list(self) -> Self:
        if bool(self.cameras) == (self.cameras_file is not None):
            raise ValueError("set either FRAMEMESH_CAMERAS or FRAMEMESH_CAMERAS_FILE")
        return self
