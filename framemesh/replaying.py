"""The messages of a replay: keys of stored frames, at the pace at which the gateway answers them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from framemesh.v1.replay_service_pb2 import ReplayRequest, ReplayResponse

_KEYS_AT_ONCE = 32  # a gateway that stops still answers those that it has
_KEYS_AHEAD = 512  # more than are answered between two words from the gateway


def replay_requests(model: str, keys: Iterable[str], *, share: float, again: bool) -> Iterator[ReplayRequest]:
    """The messages of a replay."""
    yield ReplayRequest(model=model, share=share, again=again)
    left = iter(keys)
    while several := list(islice(left, _KEYS_AT_ONCE)):
        yield ReplayRequest(object_keys=several)


class Done:
    """How many frames of a replay are done; `changed` tells of news."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    def note(self, response: ReplayResponse) -> None:
        """Take in the gateway's word."""
        self.count = response.succeeded_count + response.failed_count + response.gone_count
        self.changed.set()


async def paced(requests: Iterator[ReplayRequest], done: Done) -> AsyncIterator[ReplayRequest]:
    """The messages of a replay, each when there is word from the gateway and it has few left.

    grpc.aio forgets why a call ended when it ends under a message on its way: between them nothing is.
    """
    sent = 0
    yield next(requests)
    await done.changed.wait()
    for request in requests:
        while sent >= done.count + _KEYS_AHEAD:
            done.changed.clear()
            await done.changed.wait()
        sent += len(request.object_keys)
        yield request
