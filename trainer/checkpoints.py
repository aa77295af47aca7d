"""What a training may be gone on from: checkpoints on this machine and in the lake."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from trainer.keeping import Bucket

_NOT_KEPT = frozenset({"training_args.bin"})  # a pickle that nothing reads
_CHECKPOINT = "checkpoint-"
_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Run:
    """Where a training keeps what it may be gone on from.

    Attributes:
        bucket: In the lake.
        prefix: There, `<name>/<run>`.
        folder: On this machine.
    """

    bucket: Bucket
    prefix: str
    folder: Path

    @property
    def _there(self) -> str:
        return f"{self.prefix}/checkpoints"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The folder of TensorBoard's files."""
        return self.folder / "tensorboard"

    def restore(self) -> Path | None:
        """The newest checkpoint of the lake with the best one beside it; none where there is none.

        Raises:
            LakeUnavailableError: The lake can't be reached now.
        """
        shutil.rmtree(self.checkpoints, ignore_errors=True)  # what isn't in the lake may be half of one
        kept = sorted(self.bucket.whole(self._there), key=step_of)
        for name in kept:
            self.bucket.get(f"{self._there}/{name}", self.checkpoints / name)
        if not kept:
            return None
        newest = self.checkpoints / kept[-1]
        state = json.loads((newest / _STATE).read_text())
        if (best := state.get("best_model_checkpoint")) is not None:  # it may have been another machine's
            state["best_model_checkpoint"] = str(self.checkpoints / Path(best).name)
            (newest / _STATE).write_text(json.dumps(state))
        return newest

    def keep(self) -> None:
        """Have in the lake the checkpoints that are here, and no others.

        Raises:
            LakeUnavailableError: The lake can't be reached now.
        """
        here = {path.name for path in self.checkpoints.glob(f"{_CHECKPOINT}*")}
        there = set(self.bucket.whole(self._there))
        for name in sorted(here - there, key=step_of):
            self.bucket.put(f"{self._there}/{name}", self.checkpoints / name, without=_NOT_KEPT)
        for name in there - here:
            self.bucket.delete(f"{self._there}/{name}")
        for path in self.metrics.glob("events.*"):
            self.bucket.add(f"{self.prefix}/tensorboard/{path.name}", path)

    def forget(self) -> None:
        """Have no checkpoint anywhere: nobody goes on from what is done."""
        for name in self.bucket.whole(self._there):
            self.bucket.delete(f"{self._there}/{name}")
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def step_of(checkpoint: str) -> int:
    """After how many steps a checkpoint was written."""
    return int(checkpoint.removeprefix(_CHECKPOINT))
