"""Names of cameras, models and replicas: they become NATS subjects, object keys and Kubernetes names."""

import re

from framemesh.errors import InvalidNameError

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
MAX_CAMERA_LENGTH = 63
MAX_MODEL_LENGTH = 40
"""Kubernetes adds suffixes to a Deployment's name for its pods, which must stay within 63 characters."""


def check_label(kind: str, name: str, *, max_length: int = MAX_CAMERA_LENGTH) -> str:
    """Return the name if it is a DNS label (RFC 1123) of at most `max_length` characters.

    Raises:
        InvalidNameError: It isn't; `kind` says in the message what was being named.
    """
    if is_label(name, max_length=max_length):
        return name
    raise InvalidNameError(
        f"{name[:80]!r} can't name a {kind}: use 1 to {max_length} of a-z, 0-9 and '-', with no '-' at either end",
        kind=kind,
        name=name[:80],
    )


def is_label(name: str, *, max_length: int = MAX_CAMERA_LENGTH) -> bool:
    """Whether a name is a DNS label of at most `max_length` characters."""
    return len(name) <= max_length and _LABEL.fullmatch(name) is not None


def to_label(text: str, *, max_length: int) -> str:
    """The nearest DNS label to a text, such as `rt-detr-r18vd` for `PekingU/rtdetr_r18vd`'s last part; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:max_length].rstrip("-")
