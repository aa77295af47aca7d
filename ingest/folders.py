"""A folder of images as a camera: in name order, over and over."""

from collections.abc import Iterator
from pathlib import Path

from framemesh.errors import ConfigurationError, ImageTooLargeError, InvalidImageError
from framemesh.images import read_header
from ingest.pictures import Picture, Size, is_image
from ingest.shots import Shot


class FolderSource:
    """Pictures from a folder, endlessly. The folder is listed anew for each round; a bad file is tried only once.

    Raises:
        ConfigurationError: The folder can't be read or holds no image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bad: set[Path] = set()
        if not any(is_image(_head(path)) for path in self._paths()):
            raise self._empty()
        self._round: Iterator[Path] = iter(())

    def read(self) -> Shot:
        """The next picture, as the file has it.

        Raises:
            InvalidImageError: The next file isn't a sound image; it is passed over from now on.
            ImageTooLargeError: As above, for a file over `framemesh.limits`.
            ConfigurationError: The folder holds no image any more.
        """
        path = next(self._round, None)
        if path is None:
            self._round = iter(self._paths())
            path = next(self._round, None)
        if path is None:
            raise self._empty()
        try:
            body = path.read_bytes()
            header = read_header(body)
        except OSError as error:
            raise InvalidImageError(f"{path} can't be read: {error.strerror}", path=path) from error
        except (InvalidImageError, ImageTooLargeError) as error:
            self._bad.add(path)
            raise type(error)(f"{path}: {error}", path=path) from error
        return Shot(Picture(body, header.content_type, Size(header.width_px, header.height_px)))

    def close(self) -> None:
        """Nothing is held."""

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path not in self._bad and path.is_file())
        except OSError as error:
            raise ConfigurationError(f"{self._folder} can't be listed: {error.strerror}", path=self._folder) from error

    def _empty(self) -> ConfigurationError:
        return ConfigurationError(
            f"there is no image in {self._folder}: put JPEG, PNG or WebP files there", path=self._folder
        )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:  # gone, or not ours to read; reading it says so
        return b""
