"""The clients: each a channel to the gateway, and a part for each of its services."""

from types import TracebackType
from typing import Self

from framemesh.client.analysis import Analysis, AsyncAnalysis
from framemesh.client.cameras import AsyncCameras, Cameras
from framemesh.client.corrections import AsyncCorrections, Corrections
from framemesh.client.dead_letters import AsyncDeadLetters, DeadLetters
from framemesh.client.models import AsyncModels, Models
from framemesh.client.replays import AsyncReplays, Replays
from framemesh.client.status import AsyncStatus, Status
from framemesh.client.trainings import AsyncTrainings, Trainings
from framemesh.rpc.channels import Tls, open_channel, open_sync_channel


class AsyncClient(
    AsyncAnalysis,
    AsyncModels,
    AsyncStatus,
    AsyncCameras,
    AsyncDeadLetters,
    AsyncCorrections,
    AsyncReplays,
    AsyncTrainings,
):
    """A mesh's gateway, for asyncio.

    Every method raises the matching `framemesh.errors.FramemeshError` where the gateway reports one, or where it
    can't be reached (`ModelUnavailableError`).

    Args:
        address: The gateway's gRPC address, as `host:port`.
        token: Where the gateway wants one.
        tls: Whether the gateway speaks TLS: `True`, or the path of a PEM file of the authorities to trust. A token
            does not go to another machine in plain text, unless `False` says that something else encrypts the way.

    Raises:
        ConfigurationError: The file can't be read, or the token would go in plain text.
    """

    def __init__(self, address: str, *, token: str | None = None, tls: Tls = None) -> None:
        super().__init__(open_channel(address, tls=tls, token=token))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()


class Client(Analysis, Models, Status, Cameras, DeadLetters, Corrections, Replays, Trainings):
    """A mesh's gateway, for programs without asyncio. Safe to share between threads.

    Every method raises as `AsyncClient`'s does.

    Args:
        address: As `AsyncClient`'s.
        token: As `AsyncClient`'s.
        tls: As `AsyncClient`'s.

    Raises:
        ConfigurationError: As `AsyncClient`.
    """

    def __init__(self, address: str, *, token: str | None = None, tls: Tls = None) -> None:
        super().__init__(open_sync_channel(address, tls=tls, token=token))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
