"""What becomes of a wish, as those who wait for it see it. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from framemesh.errors import FramemeshError
from framemesh.v1.model_pb2 import Model
from framemesh.v1.training_pb2 import Training

Wished = TypeVar("Wished", bound=Model | Training)


class Awaited(Generic[Wished]):
    """A model or a training that somebody waits for.

    Args:
        name: Its name.
        generation: Of the wish, or of one before it.
        kind: What errors call it, such as `model`.
        gone: What is raised where somebody deletes it meanwhile.
    """

    def __init__(self, name: str, generation: int, kind: str, gone: type[FramemeshError]) -> None:
        self._name = name
        self._generation = generation
        self._kind = kind
        self._gone = gone
        self._seen = False

    def among(self, known: Sequence[Wished]) -> Wished | None:
        """It as it is now; none where the gateway has not heard of the wish yet.

        Raises:
            FramemeshError: It was there, and is no more.
        """
        found = next((one for one in known if one.spec.name == self._name), None)
        if found is None and self._seen:
            raise self._gone(f"{self._kind} {self._name!r} was deleted meanwhile", **{self._kind: self._name})
        if found is None or found.generation < self._generation:
            return None
        self._seen = True
        return found
