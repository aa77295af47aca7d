"""A loaded model: encoded images in, named classes out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framemesh.errors import ConfigurationError, FramemeshError
from model_server import classification, runtimes
from model_server.artifacts import Manifest, read_manifest
from model_server.classification import ScoredLabel
from model_server.decoding import open_image


@dataclass(frozen=True, slots=True)
class Job:
    """One image, and how many classes of it to name."""

    image: bytes
    label_count: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one image, and how long it took.

    Attributes:
        labels: Its classes, best first.
        preprocess_seconds: Decoding this image and making input of it.
        inference_seconds: Running the model on the whole batch.
        postprocess_seconds: Making the batch's answers of the model's outputs.
        batch_size: How many images ran together.
    """

    labels: list[ScoredLabel]
    preprocess_seconds: float
    inference_seconds: float
    postprocess_seconds: float
    batch_size: int


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and how long its image waited for a worker."""

    answer: Answer
    queue_seconds: float


class Model:
    """A model ready to answer. Its methods are for worker threads: decoding and running release the GIL."""

    def __init__(self, manifest: Manifest, runtime: runtimes.Runtime) -> None:
        self.manifest = manifest
        self._runtime = runtime

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Load a prepared model. Takes up to some seconds.

        Raises:
            ConfigurationError: Its runtime isn't installed.
        """
        manifest = read_manifest(folder)
        return cls(manifest, runtimes.load(manifest.runtime, folder))

    def warm_up(self, batch: int) -> None:
        """Run a batch of that size once: the first run plans its memory.

        Raises:
            ConfigurationError: The network doesn't have an output for each class.
        """
        logits = self._runtime.run(self.manifest.preprocessing.batch(batch))
        if logits.shape != (batch, len(self.manifest.labels)):
            raise ConfigurationError(
                f"the network gives outputs of shape {logits.shape} for {batch} images, but its config.json names "
                f"{len(self.manifest.labels)} classes: mend its id2label"
            )

    def infer(self, jobs: Sequence[Job]) -> list[Answer | FramemeshError]:
        """Answer a batch, in its order. A broken image has its error; the others have their answers."""
        pixels = self.manifest.preprocessing.batch(len(jobs))
        outcomes: dict[int, Answer | FramemeshError] = {}
        prepared: dict[int, float] = {}
        for index, job in enumerate(jobs):
            started = time.perf_counter()
            try:
                self._prepare(job.image, pixels[len(prepared)])
            except FramemeshError as error:
                outcomes[index] = error
            else:
                prepared[index] = time.perf_counter() - started
        if prepared:
            outcomes |= self._answer(pixels[: len(prepared)], jobs, prepared)
        return [outcomes[index] for index in range(len(jobs))]

    def _prepare(self, body: bytes, pixels: NDArray[np.float32]) -> None:
        image = open_image(body)
        resized = self.manifest.preprocessing.resized(image.size)
        self.manifest.preprocessing.fill(pixels, image.decode(resized), resized)

    def _answer(
        self, pixels: NDArray[np.float32], jobs: Sequence[Job], prepared: Mapping[int, float]
    ) -> dict[int, Answer]:
        """Answers by number of their job; `prepared` has the seconds of each row of pixels by the same number."""
        started = time.perf_counter()
        logits = self._runtime.run(pixels)
        ran = time.perf_counter()
        scores = classification.scores(logits, self.manifest.activation)
        labels = {
            index: classification.best(row, self.manifest.labels, jobs[index].label_count)
            for index, row in zip(prepared, scores, strict=True)
        }
        named = time.perf_counter()
        return {
            index: Answer(labels[index], seconds, ran - started, named - ran, len(prepared))
            for index, seconds in prepared.items()
        }
