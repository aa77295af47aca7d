"""framemesh turns camera frames into typed answers. `Client` and `AsyncClient` talk to a mesh's gateway."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framemesh.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    # Not imported at once: a camera agent has no use for gRPC, which takes 25 MB.
    if name in __all__:
        from framemesh import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
