"""A loaded model: encoded images in, typed answers out."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from framemesh.errors import ConfigurationError, FramemeshError, InternalError, InvalidRequestError
from framemesh.v1.answer_pb2 import Answer, AnswerOptions
from model_server import memory, preparers, runtimes
from model_server.artifacts import Manifest, PreprocessingName, read_manifest
from model_server.geometry import Size, View
from model_server.preparers import FastPreparer, Prepared, Preparer
from model_server.signature import Signature, observed
from model_server.tasks import Asked, Texts


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One image, and what is wanted of it.

    Attributes:
        image: A whole encoded image; or the network's own input, of shape (channels, height, width).
        options: What is wanted of the answer.
        raw: Whether the network's outputs are wanted rather than an answer.
    """

    image: bytes | NDArray[np.float32] = field(repr=False)
    options: AnswerOptions = field(default_factory=AnswerOptions)
    raw: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Inferred:
    """What the model says of one image, and how long it took.

    Attributes:
        answer: The typed answer; none where the outputs were wanted.
        outputs: The network's outputs by name, the first axis of each counting the job's inputs.
        preprocess_seconds: Decoding this image and making input of it.
        inference_seconds: Running the model on the whole batch.
        postprocess_seconds: Making the answer of the model's outputs.
        batch_size: How many images ran together.
        queue_seconds: Waiting for a worker.
        began: When preprocessing, inference and postprocessing began, by `time.monotonic`.
    """

    answer: Answer | None
    outputs: runtimes.Arrays
    preprocess_seconds: float
    inference_seconds: float
    postprocess_seconds: float
    batch_size: int
    queue_seconds: float = 0.0
    began: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def waited(self, seconds: float) -> "Inferred":
        """The same, with how long it waited for a worker."""
        return replace(self, queue_seconds=seconds)


_WORTHWHILE = 0.9  # a batch of twice the size must cost less than this share an image
_COMPARISONS = 3
_MAX_WARM_UP_SECONDS = 0.25  # models that take longer gain nothing by batches on one core

Outcome = Inferred | FramemeshError | None
"""How one image of a batch ended; None where nobody wanted it any more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A job whose input is made."""

    number: int
    job: Job
    prepared: Prepared
    began: float
    seconds: float


class Model:
    """A model ready to answer. Its methods are for worker threads: decoding and running release the GIL.

    Args:
        manifest: What it is.
        runtime: Runs its network.
        preparer: Makes its inputs.
        texts: Its way with words, where the task needs one.
        labels: What a zero-shot model looks for unless asked otherwise.
    """

    def __init__(
        self,
        manifest: Manifest,
        runtime: runtimes.Runtime,
        preparer: Preparer,
        *,
        texts: Texts | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        self.manifest = manifest
        self.runtime = runtime
        self._preparer = preparer
        self.preprocessing: PreprocessingName = "fast" if isinstance(preparer, FastPreparer) else "exact"
        self._texts = texts
        self.labels = manifest.task.labels or tuple(labels)
        self._max_batch_pixels = math.inf
        self.signature: Signature
        """The network's tensors; known once it is warm."""

    @classmethod
    def load(
        cls, folder: Path, *, preprocessing: PreprocessingName | None = None, labels: Sequence[str] = ()
    ) -> "Model":
        """Load a prepared model. Takes up to some seconds.

        Args:
            folder: The prepared model.
            preprocessing: How inputs are made; None means as was found good enough when the model was prepared.
            labels: What a zero-shot model looks for unless asked otherwise.

        Raises:
            ConfigurationError: Its runtime isn't installed, or the preprocessing isn't to be had.
        """
        manifest = read_manifest(folder)
        runtime = runtimes.load(manifest, folder)
        preparer = _preparer(manifest, folder, preprocessing or manifest.preferred)
        return cls(manifest, runtime, preparer, texts=open_texts(manifest, folder, runtime), labels=labels)

    def warm_up(self, max_batch: int) -> int:
        """Answer a few times: the first run plans its memory, the next show how many images should run together.

        Batches double for as long as each image costs a good deal less that way. Where a core is busy with one image
        already they only cost memory and time: EfficientNet-Lite0 costs the same per image in batches of 1 and 8.

        From then on the pixels of the largest batch measured end a batch too, where inputs differ in size: see `infer`.

        Returns:
            The most images that should run together, from 1 to `max_batch`.

        Raises:
            FramemeshError: The model doesn't answer.
        """
        job = canary(self.labels)
        self._max_batch_pixels = math.inf
        self.signature = self._observe(job)
        if self.manifest.precision == "int8":
            max_batch = 1  # it may scale a batch as a whole: an answer must not depend on what else was asked
        best = 1
        while 2 * best <= max_batch and self._doubling_pays(job, best):
            best *= 2
        prepared = self._prepare(job)
        self._max_batch_pixels = best * prepared.pixel_count
        self.runtime.shrink(prepared.pixels)
        memory.give_back()
        return best

    def _observe(self, job: Job) -> Signature:
        """The network's tensors, as a first run shows them."""
        (outcome,) = self.infer([job])
        if not isinstance(outcome, Inferred):
            raise outcome or InternalError("the model gave no answer")
        preprocessing = self.manifest.preprocessing
        return observed(
            self._prepare(job).pixels,
            outcome.outputs,
            fixed_input=preprocessing is not None and preprocessing.fixed_input is not None,
            fixed_outputs=self.manifest.runtime == "onnx",  # torch also writes texts of any length
        )

    def _doubling_pays(self, job: Job, size: int) -> bool:
        """Whether an image costs a good deal less in a batch twice the size, in each of some comparisons.

        In one alone it may look so on a busy machine: EfficientNet-Lite0 then took 35 MB more for nothing.
        """
        few, many = [job] * size, [job] * 2 * size
        if size * self._seconds_an_image(few) > _MAX_WARM_UP_SECONDS:
            return False
        self._seconds_an_image(many)  # plans its memory
        return all(
            self._seconds_an_image(many) <= _WORTHWHILE * self._seconds_an_image(few) for _ in range(_COMPARISONS)
        )

    def _seconds_an_image(self, jobs: Sequence[Job]) -> float:
        """What each image of a batch costs in this thread; on a GPU, in time."""
        clock = time.thread_time if self.runtime.on_cpu else time.perf_counter
        started = clock()
        for outcome in self.infer(jobs):
            if isinstance(outcome, FramemeshError):
                raise outcome
        return (clock() - started) / len(jobs)

    def on(self, runtime: runtimes.Runtime) -> "Model":
        """The same model on another runtime, but for its way with words."""
        return Model(self.manifest, runtime, self._preparer, texts=self._texts, labels=self.labels)

    def prepared_by(self, preparer: Preparer) -> "Model":
        """The same model, whose inputs are made otherwise."""
        return Model(self.manifest, self.runtime, preparer, texts=self._texts, labels=self.labels)

    def infer(self, jobs: Sequence[Job], wanted: Callable[[int], bool] = lambda _: True) -> list[Outcome]:
        """Answer a batch, in its order. A broken image has its error; the others have their answers.

        Once the model is warm, a batch ends with the input that brings it to the pixels of the largest one measured:
        where inputs are as large as photos are, some make a hundred times the work and memory of as many others.

        Args:
            jobs: The images. Those whose inputs have the same shape run together.
            wanted: Whether somebody still waits for a job, by its number: asked just before the work.

        Returns:
            The outcomes of the first jobs, at least of one; the others were left for another batch.
        """
        outcomes: list[Outcome] = []
        groups: dict[tuple[int, ...], list[_Ready]] = {}
        pixel_count = 0
        for number, job in enumerate(jobs):
            if pixel_count >= self._max_batch_pixels:
                break
            outcomes.append(None)
            if not wanted(number):
                continue
            started = time.monotonic()
            try:
                prepared = self._prepare(job)
            except FramemeshError as error:
                outcomes[number] = error
            else:
                ready = _Ready(number, job, prepared, started, time.monotonic() - started)
                groups.setdefault(prepared.pixels.shape[1:], []).append(ready)
                pixel_count += prepared.pixel_count
        for group in groups.values():
            for ready, outcome in zip(group, self._run(group), strict=True):
                outcomes[ready.number] = outcome
        return outcomes

    def _prepare(self, job: Job) -> Prepared:
        if isinstance(job.image, bytes):
            return self._preparer.prepare(job.image, job.options.boxes)
        pixels = job.image[None]
        size = Size(pixels.shape[3], pixels.shape[2])
        return Prepared(pixels, View(size, size, size))

    def _run(self, group: Sequence[_Ready]) -> list[Outcome]:
        """The outcomes of jobs whose inputs have one shape."""
        started = time.monotonic()
        inputs = [ready.prepared.pixels for ready in group]
        try:
            outputs = self.runtime.run(inputs[0] if len(inputs) == 1 else np.concatenate(inputs))
        except Exception as error:
            if any(isinstance(ready.job.image, bytes) for ready in group):
                raise
            return [_unfit(inputs[0], error)] * len(group)
        seconds = time.monotonic() - started
        outcomes: list[Outcome] = []
        row = 0
        for ready in group:
            rows = slice(row, row := row + len(ready.prepared.pixels))
            own = {name: array[rows] for name, array in outputs.items()}
            outcomes.append(self._finish(ready, own, started, seconds, len(group)))
        return outcomes

    def _finish(self, ready: _Ready, outputs: runtimes.Arrays, ran: float, seconds: float, batch_size: int) -> Outcome:
        """What is made of one image's outputs, of a run that began at `ran` and took so many seconds."""
        started = time.monotonic()
        try:
            answer = None if ready.job.raw else self._answer(ready, outputs)
        except FramemeshError as error:
            return error
        except Exception as error:
            if isinstance(ready.job.image, bytes):
                raise
            return _unfit(ready.prepared.pixels, error)
        took = time.monotonic() - started
        began = (ready.began, ran, started)
        return Inferred(answer, outputs, ready.seconds, seconds, took, batch_size, began=began)

    def _answer(self, ready: _Ready, outputs: runtimes.Arrays) -> Answer:
        options = ready.job.options
        labels = tuple(options.candidate_labels) or self.labels
        return self.manifest.task.answer(outputs, Asked(ready.prepared.view, options, labels, self._texts))


def _unfit(pixels: NDArray[np.float32], error: Exception) -> InvalidRequestError:
    """What is told of an input that the network, or the task, fails on: only inputs made by others can be so."""
    shape = list(pixels.shape[1:])
    return InvalidRequestError(f"the model can't take this input of shape {shape}: {str(error)[:200]}")


def canary(labels: Sequence[str]) -> Job:
    """A small picture that any model can answer; a zero-shot one that has no labels is given one."""
    body = BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(body, "JPEG")
    return Job(body.getvalue(), AnswerOptions(candidate_labels=() if labels else ("a gradient",)))


def open_texts(manifest: Manifest, folder: Path, runtime: runtimes.Runtime) -> Texts | None:
    """A prepared model's way with words; None where its task needs none."""
    length = manifest.task.text_length
    if length is None:
        return None
    from model_server.texts import LabelTexts  # noqa: PLC0415 - a tokenizer that most models do without

    return LabelTexts(folder, runtime.embed, length=length)


def _preparer(manifest: Manifest, folder: Path, name: PreprocessingName) -> Preparer:
    if name == "exact":
        return preparers.exact(folder, manifest.trust)
    if manifest.preprocessing is None:
        raise ConfigurationError(
            "the model's image processor does what only transformers does: set FRAMEMESH_MODEL_PREPROCESSING to exact "
            "or auto"
        )
    return FastPreparer(manifest.preprocessing)
