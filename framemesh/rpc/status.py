"""The one table of status codes, and errors on the wire as `google.rpc.Status` (AIP-193)."""

from typing import cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from framemesh import errors
from framemesh.errors import FramemeshError
from framemesh.v1.answer_pb2 import AnswerError

DOMAIN = "framemesh"

_MAX_MESSAGE_LENGTH = 1000  # a status travels in trailers, of which gRPC takes 8 KiB in all
_MAX_VALUE_LENGTH = 200

CODES: dict[type[FramemeshError], StatusCode] = {
    errors.ConfigurationError: StatusCode.FAILED_PRECONDITION,
    errors.InvalidNameError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequestError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidSpecError: StatusCode.INVALID_ARGUMENT,
    errors.InvalidImageError: StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLargeError: StatusCode.INVALID_ARGUMENT,
    errors.UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: StatusCode.PERMISSION_DENIED,
    errors.ModelNotFoundError: StatusCode.NOT_FOUND,
    errors.ModelExistsError: StatusCode.ALREADY_EXISTS,
    errors.ModelChangedError: StatusCode.ABORTED,  # a sequencer that no longer fits, in the words of google.rpc.Code
    errors.FrameNotFoundError: StatusCode.NOT_FOUND,
    errors.DeadLetterNotFoundError: StatusCode.NOT_FOUND,
    errors.DatasetNotFoundError: StatusCode.NOT_FOUND,
    errors.TrainingNotFoundError: StatusCode.NOT_FOUND,
    errors.TrainingRunsError: StatusCode.ALREADY_EXISTS,
    errors.ModelUnavailableError: StatusCode.UNAVAILABLE,
    errors.ServerLostError: StatusCode.UNAVAILABLE,
    errors.QueueFullError: StatusCode.RESOURCE_EXHAUSTED,
    errors.OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineError: StatusCode.DEADLINE_EXCEEDED,
    errors.LakeUnavailableError: StatusCode.UNAVAILABLE,
    errors.BusUnavailableError: StatusCode.UNAVAILABLE,
    errors.SourceUnavailableError: StatusCode.UNAVAILABLE,
    errors.PublishDeniedError: StatusCode.UNAVAILABLE,
    errors.StreamFullError: StatusCode.RESOURCE_EXHAUSTED,
    errors.InternalError: StatusCode.INTERNAL,
}

_BY_REASON = {kind.reason: kind for kind in CODES}
_BY_CODE = {
    StatusCode.UNAVAILABLE: errors.ModelUnavailableError,
    StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
    StatusCode.RESOURCE_EXHAUSTED: errors.QueueFullError,
    StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
}

# What gRPC says of a connection that it can't make, and what a caller can do about it.
_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is expired, or of an authority not known here: name its CA",
    "Hostname Verification Check failed": "the server's certificate is for other names: use one of them",
    "WRONG_VERSION_NUMBER": "the server speaks plain text: call it without TLS",
    "Socket closed": "a server is there and hangs up at once: it may want TLS",
    "before receiving SETTINGS": "what listens there hangs, or speaks no gRPC: see `framemesh doctor`",
    "Connection refused": "nothing listens there: start it, or mend the address",
}


def code_number(error: FramemeshError) -> int:
    """The error's `google.rpc.Code`."""
    return int(CODES[type(error)].value[0])


def to_status(error: FramemeshError) -> grpc.Status:
    """The error as a gRPC status with `ErrorInfo`, and `RetryInfo` where waiting helps."""
    values = {key: value[:_MAX_VALUE_LENGTH] for key, value in error.values.items()}
    details = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=values))]
    if error.retry_after_seconds is not None:
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=_retry_delay(error.retry_after_seconds))))
    return rpc_status.to_status(
        status_pb2.Status(code=code_number(error), message=str(error)[:_MAX_MESSAGE_LENGTH], details=details)
    )


def to_answer_error(error: FramemeshError) -> AnswerError:
    """The error in an answer's place, where other answers stand beside it."""
    delay = None if error.retry_after_seconds is None else _retry_delay(error.retry_after_seconds)
    return AnswerError(code=code_number(error), reason=error.reason, message=str(error), retry_delay=delay)


def from_rpc_error(error: grpc.RpcError, *, timeout: float | None = None) -> FramemeshError:
    """The error that a call ended with, as the family member that the server raised, or the nearest by its code.

    Args:
        error: What the call raised.
        timeout: The seconds that it had, where it had a deadline.
    """
    call = cast("grpc.Call", error)  # what every client call raises is both, in threads and in asyncio
    message = call.details() or str(error)
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # details that don't fit the code: not one of our servers
        status = None
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in _BY_REASON:
            return _BY_REASON[info.reason](message, **dict(info.metadata))
    if call.code() == StatusCode.UNAVAILABLE and "failed to connect" in message:
        hints = [hint for sign, hint in _HINTS.items() if sign in message]
        message = " ".join([*hints[:1], f"({message})" if hints else message])
    if call.code() == StatusCode.DEADLINE_EXCEEDED:  # gRPC's own words say no more than that
        span = "in time" if timeout is None else f"within {timeout:g} s"
        message = (
            f"no answer came {span}: the server hangs, or waits for NATS, the lake or a model that does; "
            "`framemesh doctor` finds out which, then try again"
        )
    return _BY_CODE.get(call.code(), errors.InternalError)(message)


def _retry_delay(seconds: float) -> Duration:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return delay


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> Any:
    box = Any()
    box.Pack(message)
    return box
