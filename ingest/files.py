"""Files of images, of which no more is read than an image may have."""

import os
from pathlib import Path

from framemesh.limits import MAX_IMAGE_BYTES, check_size


def read_image(path: Path) -> bytes:
    """The file's bytes; of one that is growing beyond the limit, one byte more than that.

    Raises:
        ImageTooLargeError: It is over the limit.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        check_size(os.fstat(file.fileno()).st_size)
        return file.read(MAX_IMAGE_BYTES + 1)
