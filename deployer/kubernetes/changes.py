"""Noticing what changes in a cluster, and following a Job to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployer.kubernetes import marks, states
from deployer.kubernetes.api import JOB, POD, Cluster, Kind
from deployer.kubernetes.objects import Object
from framemesh.waiting import happens, until_set

T = TypeVar("T")

_LOOK_SECONDS = 2.0
"""How long after the last look there is another, whatever the watches say: a log's growth is no event."""
_CALM_SECONDS = 0.1
"""What changes rarely changes alone: one look is for all that comes within this time."""


class Changes:
    """Watches kinds of objects while it runs.

    Args:
        cluster: Where they are.
        kinds: Which.
    """

    name = "cluster"

    def __init__(self, cluster: Cluster, *kinds: Kind) -> None:
        self._cluster = cluster
        self._kinds = kinds
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change: take it before a look, and await `after` it once there is nothing to do."""
        return self._changed

    async def run(self) -> None:
        """Watch until stopped."""
        await until_set(self._stopping, *(self._cluster.watch(kind, self._wake) for kind in self._kinds))

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    async def after(self, change: asyncio.Event) -> None:
        """Wait until there may be something to look at since."""
        await happens(change, within=_LOOK_SECONDS)
        await asyncio.sleep(_CALM_SECONDS)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def done(cluster: Cluster, changes: Changes, wanted: Object, look: Callable[[Object], Awaitable[T | None]]) -> T:
    """Have this Job, and no other of its model, until `look` finds what it has made; it stays until others end it.

    One that had failed before is made anew, once: this is another try.

    Raises:
        FramemeshError: Of `look`, or of the cluster.
    """
    name, model = wanted["metadata"]["name"], wanted["metadata"]["labels"][marks.MODEL_LABEL]
    begun = False
    while True:
        change = changes.next
        jobs = {job["metadata"]["name"]: job for job in await cluster.owned(JOB, model)}
        job = jobs.pop(name, None)
        for other in jobs:
            await cluster.delete(JOB, other)
        if job is None:
            await cluster.apply(wanted, None)
        elif states.holds(job, "Failed") and not begun:
            await cluster.delete(JOB, name)
            continue
        elif "deletionTimestamp" not in job["metadata"]:
            found = await look(job)
            if found is not None:
                return found
        begun = True
        await changes.after(change)


async def pods_of(cluster: Cluster, model: str, app: str, version: str = "") -> list[Object]:
    """The model's pods of a kind, and of one version where it is given, the oldest first; not those that are to end."""
    wanted = {marks.NAME_LABEL: app, **({marks.VERSION_LABEL: version} if version else {})}
    pods = await cluster.owned(POD, model)
    return [
        pod
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        if wanted.items() <= pod["metadata"]["labels"].items() and "deletionTimestamp" not in pod["metadata"]
    ]
