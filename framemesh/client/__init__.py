"""Clients of the gateway, for threads and for asyncio. Answers are the protos' own messages.

A module for each of the gateway's services holds both clients' methods side by side.
"""

from framemesh.client.analysis import ANALYZE_SECONDS
from framemesh.client.clients import AsyncClient, Client
from framemesh.client.replays import REPLAY_SHARE

__all__ = ["ANALYZE_SECONDS", "REPLAY_SHARE", "AsyncClient", "Client"]
