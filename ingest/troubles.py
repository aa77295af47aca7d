"""What goes wrong between a camera and us, in words that name the source without its login and say what to do. Pure."""

from framemesh.errors import ConfigurationError, SourceUnavailableError
from ingest.shots import Stalled


def unanswered(shown: str, seconds: float) -> SourceUnavailableError:
    """Nothing comes, for so long."""
    return SourceUnavailableError(
        f"source {shown}: no answer within {seconds:g} s: is it switched on, and can this machine reach it?"
    )


def stalled(shown: str, seconds: float) -> Stalled:
    """It is open, and nothing comes any more."""
    return Stalled(f"source {shown}: nothing has come for {seconds:g} s: is it frozen, or its network down?", seconds)


def no_host(shown: str) -> SourceUnavailableError:
    """Its name isn't known."""
    return SourceUnavailableError(
        f"source {shown}: there is no host of this name: check it, or write the address in numbers"
    )


def not_listening(shown: str) -> SourceUnavailableError:
    """Its host is there, and has nothing on this port."""
    return SourceUnavailableError(f"source {shown}: nothing listens there: is it switched on, and is the port right?")


def ended(shown: str) -> SourceUnavailableError:
    """It was there, and hung up."""
    return SourceUnavailableError(f"source {shown}: it closed the connection")


def login_refused(shown: str) -> ConfigurationError:
    """It doesn't know the user, or not the password."""
    return ConfigurationError(
        f"source {shown}: it refuses the login: set username and password to what the camera's own web page takes"
    )


def nothing_there(shown: str) -> ConfigurationError:
    """It has no such path."""
    return ConfigurationError(f"source {shown}: there is nothing at this path: correct the end of the URL")


def no_picture(shown: str) -> ConfigurationError:
    """It can be opened, and holds no video."""
    return ConfigurationError(f"source {shown}: there is no picture in it: is it a video?")


def no_video(shown: str) -> ConfigurationError:
    """It can be read, and isn't anything we know."""
    return ConfigurationError(
        f"source {shown}: what is there is no video that FFmpeg reads: point source at a camera's stream, a video, an "
        "image (JPEG, PNG, WebP) or a folder of images"
    )


def not_built_in(shown: str) -> ConfigurationError:
    """FFmpeg was built without what it takes."""
    return ConfigurationError(
        f"source {shown}: FFmpeg's libraries here can't read this kind of source: use another, or correct its format"
    )


def no_file(shown: str, why: str) -> ConfigurationError:
    """The path leads to nothing, or to nothing that may be read."""
    return ConfigurationError(
        f"source {shown} can't be opened: {why}; a source is an image, a folder of images, a video, a device such as "
        "/dev/video0, or the URL of a camera"
    )
