"""Following what is wanted in a key-value bucket, and making each thing so, beside the others, again and again."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from framemesh.bus import Bus
from framemesh.bus.watching import entries
from framemesh.errors import InvalidSpecError
from framemesh.v1.model_pb2 import ModelSpec
from framemesh.v1.training_pb2 import TrainingSpec
from framemesh.waiting import backed_off, cancelled, happens

log = structlog.get_logger()

Spec = TypeVar("Spec", bound=ModelSpec | TrainingSpec)


@dataclass(frozen=True, slots=True)
class Wish(Generic[Spec]):
    """A thing as it is wanted, and which change of it said so."""

    spec: Spec
    generation: int


class Pursuit(ABC, Generic[Spec]):
    """One thing, on its way to what is wanted of it."""

    def __init__(self, name: str, wish: Wish[Spec] | None) -> None:
        self.name = name
        self._wish = wish
        self._changed = asyncio.Event()
        self._trying: asyncio.Task[float | None] | None = None
        self._failures = 0
        self._ended = False

    def want(self, wish: Wish[Spec] | None) -> None:
        """Another wish, or none any more: what is under way for an older one is given up, if it won't do for both."""
        before, self._wish = self._wish, wish
        if before == wish:
            return
        self._failures = 0
        self._changed.set()
        if self._trying is not None and not self._will_do(before, wish):
            self._trying.cancel()

    def end(self) -> None:
        """Leave everything as it is, and return from `run`."""
        self._ended = True
        self._changed.set()
        if self._trying is not None:
            self._trying.cancel()

    async def run(self) -> None:
        """Make each wish real; returns once nothing is wanted and nothing is there, or at the end."""
        while not self._ended:
            self._changed.clear()
            wish = self._wish
            self._trying = asyncio.create_task(self._try(wish))
            try:
                await asyncio.wait((self._trying,))
            finally:
                self._trying.cancel()
            if self._trying.cancelled():
                continue
            again_seconds = self._trying.result()
            if again_seconds is not None:
                await happens(self._changed, within=again_seconds)
            elif wish is None and self._wish is None:
                return
            else:
                await self._changed.wait()

    def _will_do(self, before: Wish[Spec] | None, wish: Wish[Spec] | None) -> bool:  # noqa: ARG002
        """Whether what is under way for one wish is of use for another."""
        return False

    @abstractmethod
    async def _try(self, wish: Wish[Spec] | None) -> float | None:
        """Go as far as it goes; returns after how many seconds to try again, none where all is well."""

    def _again(self, seconds: tuple[float, float]) -> float:
        """How long to wait after one more failure, between these."""
        self._failures += 1
        return backed_off(self._failures, *seconds)


class Pursuer(ABC, Generic[Spec]):
    """Follows what is wanted, each thing on its own.

    Args:
        bus: Where the desired state is.
        bucket: In which key-value bucket.
    """

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._pursuits: dict[str, Pursuit[Spec]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Follow until stopped; what runs then goes on."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(group))
            await self._stopping.wait()
            for pursuit in self._pursuits.values():
                pursuit.end()
            await cancelled(following)

    def stop(self) -> None:
        """Change nothing more."""
        self._stopping.set()

    @abstractmethod
    async def _known(self) -> set[str]:
        """Of what something is there, or told, wanted or not."""

    @abstractmethod
    def _load(self, name: str, value: bytes) -> Spec:
        """What an entry wants.

        Raises:
            InvalidSpecError: It isn't one of ours.
        """

    @abstractmethod
    def _pursuit(self, name: str, wish: Wish[Spec] | None) -> Pursuit[Spec]:
        """What makes it so."""

    def _forget(self, name: str) -> None:
        """Nothing is wanted of it any more, and nothing there."""

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        known = await self._known()
        async with aclosing(entries(self._bus, self._bucket)) as following:
            async for content in following:
                for name in known - content.keys():
                    self._want(name, None, group)
                known = set(content)
                for name, entry in content.items():
                    try:
                        self._want(name, Wish(self._load(name, entry.value), entry.revision), group)
                    except InvalidSpecError as error:  # written by hand: what is there stays as it is
                        log.warning("wish.unreadable", bucket=self._bucket, key=name, error=str(error))

    def _want(self, name: str, wish: Wish[Spec] | None, group: asyncio.TaskGroup) -> None:
        if name not in self._pursuits:
            self._pursuits[name] = self._pursuit(name, wish)
            group.create_task(self._keep(self._pursuits[name]), name=f"{self._bucket}: {name}")
        else:
            self._pursuits[name].want(wish)

    async def _keep(self, pursuit: Pursuit[Spec]) -> None:
        await pursuit.run()
        del self._pursuits[pursuit.name]
        self._forget(pursuit.name)
