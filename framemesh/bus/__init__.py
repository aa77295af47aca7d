"""NATS JetStream as framemesh uses it: one connection, its streams, publishing with a receipt, consuming."""

from framemesh.bus.connection import Bus, connect
from framemesh.bus.consuming import ConsumerGoneError, consume

__all__ = ["Bus", "ConsumerGoneError", "connect", "consume"]
