"""Who may call what: the table of roles, and the tokens that have them."""

from functools import partial
from pathlib import Path

import structlog

from framemesh.errors import FramemeshError, PermissionDeniedError, UnauthenticatedError
from framemesh.rpc.calls import Metadata
from framemesh.rpc.reloading import Reloaded
from framemesh.rpc.tokens import Role, Token, find, load_tokens
from gateway.metrics import GatewayMetrics

log = structlog.get_logger()

ROLES: dict[str, Role] = {
    "/framemesh.v1.AnalysisService/Analyze": Role.ANALYSE,
    "/framemesh.v1.AnalysisService/AnalyzeStream": Role.ANALYSE,
    "/framemesh.v1.AnalysisService/WatchResults": Role.READ,
    "/framemesh.v1.ModelService/DeployModel": Role.ADMIN,
    "/framemesh.v1.ModelService/ScaleModel": Role.ADMIN,
    "/framemesh.v1.ModelService/PromoteModel": Role.ADMIN,
    "/framemesh.v1.ModelService/RollBackModel": Role.ADMIN,
    "/framemesh.v1.ModelService/DeleteModel": Role.ADMIN,
    "/framemesh.v1.ModelService/ListModels": Role.READ,
    "/framemesh.v1.ModelService/WatchModels": Role.READ,
    "/framemesh.v1.TrainingService/StartTraining": Role.ADMIN,
    "/framemesh.v1.TrainingService/StopTraining": Role.ADMIN,
    "/framemesh.v1.TrainingService/DeleteTraining": Role.ADMIN,
    "/framemesh.v1.TrainingService/ListTrainings": Role.READ,
    "/framemesh.v1.TrainingService/WatchTrainings": Role.READ,
    "/framemesh.v1.ReplayService/Replay": Role.ADMIN,
    "/framemesh.v1.ReplayService/GetArchiveProgress": Role.READ,
    "/framemesh.v1.CorrectionService/CorrectFrame": Role.LABEL,
    "/framemesh.v1.CorrectionService/RemoveCorrection": Role.LABEL,
    "/framemesh.v1.CorrectionService/ListCorrections": Role.READ,
    "/framemesh.v1.StatusService/GetStatus": Role.READ,
    "/framemesh.v1.CameraService/ListCameras": Role.READ,
    "/framemesh.v1.CameraService/WatchCameras": Role.READ,
    "/framemesh.v1.DeadLetterService/ListDeadLetters": Role.READ,
    "/framemesh.v1.DeadLetterService/GetDeadLetter": Role.ADMIN,  # it may carry a picture
    "/framemesh.v1.DeadLetterService/RetryDeadLetters": Role.ADMIN,
}
"""The least role that each method takes; one that isn't here nobody may call."""


def caller() -> str:
    """Name of the token that came with the call under way; empty where the gateway wants none."""
    return str(structlog.contextvars.get_contextvars().get("token", ""))


class Access:
    """Lets in who has a token of the file, as far as its role reaches. The file is read again when it changes.

    Raises:
        ConfigurationError: The file can't be used.
    """

    def __init__(self, tokens_file: Path, metrics: GatewayMetrics) -> None:
        self._tokens = Reloaded((tokens_file,), partial(load_tokens, tokens_file))
        self._metrics = metrics

    def authorize(self, method: str, metadata: Metadata) -> None:
        """Pass a call. All that it logs from now on carries its token's name.

        Raises:
            UnauthenticatedError: Without a token, or with one that isn't in the file.
            PermissionDeniedError: The token's role does not reach so far.
        """
        try:
            token = self._bearer(metadata)
            structlog.contextvars.bind_contextvars(token=token.name)
            _check_role(token, method)
        except FramemeshError as error:
            self._metrics.denied.labels(error.reason).inc()
            log.warning("call.denied", method=method, reason=error.reason)
            raise

    def _bearer(self, metadata: Metadata) -> Token:
        presented = [value for key, value in metadata if key == "authorization"]
        if not presented:
            raise UnauthenticatedError(
                "this gateway wants a token: send it as metadata `authorization: Bearer TOKEN`; the framemesh command "
                "takes it from FRAMEMESH_TOKEN, the Python client as token="
            )
        scheme, _, value = str(presented[0]).partition(" ")
        token = find(self._tokens.now(), value.strip()) if scheme.lower() == "bearer" and len(presented) == 1 else None
        if token is None:
            raise UnauthenticatedError(
                "this gateway does not know the token that came with the call: it must be one of its tokens file, sent "
                "as `authorization: Bearer TOKEN`; it may have been taken back"
            )
        return token


def _check_role(token: Token, method: str) -> None:
    needed = ROLES.get(method)
    if needed is None or token.role < needed:
        named = "a role that no token has" if needed is None else f"role {needed.name.lower()}"
        raise PermissionDeniedError(
            f"token {token.name!r} has role {token.role.name.lower()}, and {method.rpartition('/')[2]} takes {named}: "
            "ask whoever runs the gateway for another token",
            token=token.name,
            role=token.role.name.lower(),
            needed="" if needed is None else needed.name.lower(),
        )
