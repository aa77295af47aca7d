"""What a stream holds now, asked of NATS directly, as nats-py leaves out the times; what a consumer has yet to do."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.js.api import ConsumerInfo

from framemesh.bus.connection import ACK_SECONDS, Bus, reporting
from framemesh.errors import BusUnavailableError


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream at one moment.

    Attributes:
        name: The stream's name.
        messages: How many it holds; in a work queue those that are not done.
        size_bytes: What they take.
        limit_bytes: What they may take.
        first: Sequence of the oldest message.
        last: Sequence of the newest that was ever taken.
        oldest_time: When the oldest was taken; none where there is none.
        created: When the stream was made.
        subjects: How many messages each subject has.
    """

    name: str
    messages: int
    size_bytes: int
    limit_bytes: int
    first: int
    last: int
    oldest_time: datetime | None
    created: datetime
    subjects: dict[str, int] = field(default_factory=dict)

    def oldest_seconds(self, now: datetime) -> float:
        """How long the oldest message has been there; 0 where there is none."""
        return max(0.0, (now - self.oldest_time).total_seconds()) if self.oldest_time else 0.0


async def stream_state(bus: Bus, stream: str, *, subjects: bool = False) -> StreamState:
    """A stream's state, by subject too where that is asked for.

    Raises:
        BusUnavailableError: NATS doesn't answer, or has no such stream.
    """
    request = json.dumps({"subjects_filter": ">"} if subjects else {}).encode()
    with reporting(f"NATS says nothing of stream {stream}"):
        answer = await bus.client.request(f"$JS.API.STREAM.INFO.{stream}", request, timeout=ACK_SECONDS)
    found: dict[str, Any] = json.loads(answer.data)
    if "error" in found:
        raise BusUnavailableError(f"NATS says nothing of stream {stream}: {found['error'].get('description')}")
    state = found["state"]
    return StreamState(
        name=stream,
        messages=state["messages"],
        size_bytes=state["bytes"],
        limit_bytes=found["config"]["max_bytes"],
        first=state["first_seq"],
        last=state["last_seq"],
        oldest_time=datetime.fromisoformat(state["first_ts"]).astimezone(UTC) if state["messages"] else None,
        created=datetime.fromisoformat(found["created"]).astimezone(UTC),
        subjects=state.get("subjects") or {},
    )


def unfinished(consumer: ConsumerInfo) -> int:
    """How many messages a consumer has yet to settle: those that wait, and those that are being worked on."""
    return (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
