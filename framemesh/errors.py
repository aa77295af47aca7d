"""All that framemesh itself reports as gone wrong. Knows nothing of gRPC: `framemesh.rpc.status` has the codes."""

from typing import ClassVar


class FramemeshError(Exception):
    """The root of the family.

    Args:
        message: What went wrong and what to do next, for people.
        values: Every value that the message names, for programs.
    """

    reason: ClassVar[str] = "INTERNAL"
    """A constant for programs; each class has its own."""
    retry_after_seconds: ClassVar[float | None] = None
    """How long to wait before trying again; none where trying again can't help."""

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message)
        self.values = {key: str(value) for key, value in values.items()}


class ConfigurationError(FramemeshError):
    """What an operator set, or what the machine offers, can't work: restarting won't help."""

    reason = "CONFIGURATION"


EXIT_CONFIGURATION = 78
"""What a process ends with on a `ConfigurationError`: BSD's EX_CONFIG (sysexits.h)."""
EXIT_TRY_AGAIN = 75
"""What a program that works for others ends with where nothing is wrong with what was set: BSD's EX_TEMPFAIL."""
EXIT_INTERRUPTED = 130
"""What a command ends with after Ctrl-C: 128 and SIGINT, as shells have it."""


class InvalidNameError(FramemeshError):
    """A camera's or model's name isn't a DNS label."""

    reason = "INVALID_NAME"


class InvalidRequestError(FramemeshError):
    """A request lacks a field, or has a value that no call accepts."""

    reason = "INVALID_REQUEST"


class InvalidSpecError(FramemeshError):
    """A model spec that can't be deployed as it stands."""

    reason = "INVALID_SPEC"


class InvalidImageError(FramemeshError):
    """The bytes are no image that we read, or a broken one."""

    reason = "INVALID_IMAGE"


class ImageTooLargeError(FramemeshError):
    """The image is over the limit in bytes or in pixels."""

    reason = "IMAGE_TOO_LARGE"


class UnauthenticatedError(FramemeshError):
    """The caller presented no token, or none that is known."""

    reason = "UNAUTHENTICATED"


class PermissionDeniedError(FramemeshError):
    """The caller's token is known, and its role does not reach so far."""

    reason = "PERMISSION_DENIED"


class ModelNotFoundError(FramemeshError):
    """No model of that name is deployed."""

    reason = "MODEL_NOT_FOUND"


class ModelExistsError(FramemeshError):
    """A model of that name is deployed, and none was expected."""

    reason = "MODEL_EXISTS"


class ModelChangedError(FramemeshError):
    """The model is no longer of the generation that was expected: `values["generation"]` is the one it has."""

    reason = "MODEL_CHANGED"


class FrameNotFoundError(FramemeshError):
    """No frame is stored under that key."""

    reason = "FRAME_NOT_FOUND"


class ModelUnavailableError(FramemeshError):
    """No server of the model can answer now: loading, draining, or gone."""

    reason = "MODEL_UNAVAILABLE"
    retry_after_seconds = 1.0


class ServerLostError(ModelUnavailableError):
    """A model's server ended or froze while it worked on the image, which may be the reason."""

    reason = "SERVER_LOST"


class QueueFullError(FramemeshError):
    """The model has as much work queued as it may hold; trying again later helps."""

    reason = "QUEUE_FULL"
    retry_after_seconds = 0.5


class OverloadedError(FramemeshError):
    """The gateway holds as many images as it may; trying again later helps."""

    reason = "OVERLOADED"
    retry_after_seconds = 0.5


class DeadlineError(FramemeshError):
    """The caller's deadline passed before the answer came."""

    reason = "DEADLINE_EXCEEDED"


class DeadLetterNotFoundError(FramemeshError):
    """There is no dead letter of that number: it was never there, was retried, or its time was up."""

    reason = "DEAD_LETTER_NOT_FOUND"


class DatasetNotFoundError(FramemeshError):
    """The lake has no whole dataset of that name and version."""

    reason = "DATASET_NOT_FOUND"


class TrainingNotFoundError(FramemeshError):
    """There is no training of that name."""

    reason = "TRAINING_NOT_FOUND"


class TrainingRunsError(FramemeshError):
    """Another training of that name runs."""

    reason = "TRAINING_RUNS"


class LakeUnavailableError(FramemeshError):
    """The object store doesn't answer, or answers with an error of its own."""

    reason = "LAKE_UNAVAILABLE"
    retry_after_seconds = 1.0


class BusUnavailableError(FramemeshError):
    """NATS doesn't answer, or JetStream doesn't acknowledge."""

    reason = "BUS_UNAVAILABLE"
    retry_after_seconds = 1.0


class SourceUnavailableError(FramemeshError):
    """A camera's source isn't there, or gives nothing, at present."""

    reason = "SOURCE_UNAVAILABLE"
    retry_after_seconds = 1.0


class PublishDeniedError(BusUnavailableError):
    """NATS does not let this user publish there, or hear the receipt."""

    reason = "PUBLISH_DENIED"


class StreamFullError(FramemeshError):
    """The stream has reached its size and refuses new messages; nothing that it holds is dropped."""

    reason = "STREAM_FULL"
    retry_after_seconds = 1.0


class InternalError(FramemeshError):
    """A fault of the service itself; its log has the whole of it."""

    reason = "INTERNAL"
