"""framemesh turns camera frames into typed answers. `Client` and `AsyncClient` talk to a mesh's gateway."""

from framemesh.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
