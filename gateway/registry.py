"""What is deployed and who serves it, followed in NATS's key-value store."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import structlog
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from framemesh import specs
from framemesh.bus import Bus, encoding, routes, streams
from framemesh.bus.connection import reporting
from framemesh.bus.streams import DEPLOYMENTS_BUCKET, MODELS_BUCKET, ROUTES_BUCKET
from framemesh.bus.watching import entries, snapshots
from framemesh.errors import (
    FramemeshError,
    InvalidRequestError,
    InvalidSpecError,
    ModelChangedError,
    ModelExistsError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from framemesh.frames import timestamp
from framemesh.names import MAX_MODEL_LENGTH, check_label
from framemesh.v1.model_pb2 import DeploymentStatus, Model, ModelReplica, ModelSpec, Origin, Release, ReplicaState
from framemesh.waiting import until_set
from gateway.metrics import GatewayMetrics

log = structlog.get_logger()


class Registry:
    """The models as they are wanted and as they are.

    Reading is instant, from memory; deploying, scaling and deleting write to NATS and show once NATS has told back.
    """

    name = "registry"

    def __init__(self, bus: Bus, metrics: GatewayMetrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._specs: dict[str, ModelSpec] = {}
        self._generations: dict[str, int] = {}
        self._statuses: dict[str, DeploymentStatus] = {}
        self._replicas: dict[str, ModelReplica] = {}
        self._heard: dict[str, float] = {}
        self._serving: dict[str, list[ModelReplica]] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    def specs(self) -> dict[str, ModelSpec]:
        """What is deployed, by name."""
        return dict(sorted(self._specs.items()))

    def published(self) -> list[str]:
        """Names of the models whose answers are for everybody: all but the shadows."""
        return [name for name, spec in self.specs().items() if not spec.shadow]

    def spec(self, model: str) -> ModelSpec:
        """One model's spec.

        Raises:
            ModelNotFoundError: No such model; the message names those there are.
        """
        if model in self._specs:
            return self._specs[model]
        raise self._unknown(model)

    def serving(self, model: str) -> list[ModelReplica]:
        """The model's servers that answer now."""
        return self._serving.get(model, [])

    def addresses(self) -> set[str]:
        """Where servers of deployed models answer now, as `host:port`."""
        return {replica.grpc_address for name in self._specs for replica in self.serving(name)}

    def models(self) -> list[Model]:
        """Everything, by name."""
        return [
            Model(
                spec=spec,
                replicas=self._live(name),
                status=self._status(name),
                generation=self._generations[name],
            )
            for name, spec in self.specs().items()
        ]

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield at once, and again after each change."""
        while not self._stopping.is_set():
            changed = self._changed
            yield
            await changed.wait()

    async def deploy(self, spec: ModelSpec, *, expected_generation: int | None = None, caller: str = "") -> Model:
        """Record a model as wanted; returns its spec with the defaults filled in, and the wish's generation.

        Args:
            spec: The model.
            expected_generation: Of the one that it may replace; 0 where there must be none, None for whatever there is.
            caller: Who wants it.

        Raises:
            InvalidSpecError: It can't be deployed.
            ModelExistsError: There is one of that name, and there was to be none.
            ModelChangedError: The one of that name is of another generation.
            ModelNotFoundError: The one that was expected is gone.
            BusUnavailableError: It can't be recorded now.
        """
        done = specs.complete(spec)
        done.origin.CopyFrom(_origin(caller, "deployed"))
        return Model(spec=done, generation=await self._write(done, expected_generation))

    async def scale(self, model: str, replicas: int) -> Model:
        """Record another number of servers.

        Raises:
            InvalidNameError: It is no name.
            ModelNotFoundError: No such model.
            InvalidSpecError: Not a number of servers.
            BusUnavailableError: It can't be recorded now.
        """

        def scaled(spec: ModelSpec) -> ModelSpec:
            spec.replicas = replicas
            return specs.complete(spec)

        return await self._change(model, scaled)

    async def promote(self, shadow: str, model: str, *, caller: str, reason: str) -> Model:
        """Record that a model is to be served by the version that a shadow serves.

        Args:
            shadow: Name of the shadow.
            model: Name of the model.
            caller: Who wants it.
            reason: What speaks for it.

        Raises:
            ModelNotFoundError: One of them isn't deployed.
            InvalidRequestError: One is no shadow, or the other is.
            ModelUnavailableError: The shadow has yet to serve.
            BusUnavailableError: It can't be recorded now.
        """
        source, target = self.spec(shadow), self.spec(model)
        if not source.shadow or target.shadow:
            wrong = f"{shadow!r} is no shadow" if not source.shadow else f"{model!r} is a shadow itself"
            raise InvalidRequestError(f"{wrong}: promote a model that was deployed with --shadow, to one that was not")
        status = self._status(shadow)
        release = Release(spec=source) if status is None else status.serving
        if not specs.same_version(release.spec, source):
            raise ModelUnavailableError(f"the shadow {shadow!r} does not serve yet: `framemesh models` shows its state")
        why = f"promoted from {shadow}" + (f": {reason}" if reason else "")
        return await self._serve(model, lambda _: release, _origin(caller, why))

    async def roll_back(self, model: str, *, caller: str) -> Model:
        """Record that a model is to be served by the version that served before the one that is wanted now.

        Raises:
            ModelNotFoundError: No such model.
            InvalidRequestError: No other version of it has served, as far as is known.
            BusUnavailableError: It can't be recorded now.
        """
        self.spec(model)
        status = self._status(model) or DeploymentStatus()

        def before(spec: ModelSpec) -> Release:
            served = [release for release in (status.serving, *status.previous) if release.source]
            for release in served:
                if not specs.same_version(release.spec, spec) and release.source != spec.source:
                    return release
            raise InvalidRequestError(f"no other version of {model!r} has served: deploy the one that you want")

        return await self._serve(model, before, _origin(caller, "rolled back"))

    async def _serve(self, model: str, release: Callable[[ModelSpec], Release], origin: Origin) -> Model:
        def served(spec: ModelSpec) -> ModelSpec:
            changed = specs.served_as(spec, release(spec))
            changed.origin.CopyFrom(origin)
            return changed

        return await self._change(model, served)

    async def _change(self, model: str, change: Callable[[ModelSpec], ModelSpec]) -> Model:
        """Record what a change makes of a model's spec, as it is recorded by then."""
        check_label("model", model, max_length=MAX_MODEL_LENGTH)
        with reporting(f"model {model!r} can't be changed now"):
            bucket = await self._bus.js.key_value(MODELS_BUCKET)
            # From what is recorded, not from what has been told back: no wish of just now must be undone.
            while True:
                recorded = await self._recorded(bucket, model)
                changed = change(specs.load(model, recorded.value or b""))
                try:
                    generation = await bucket.update(model, specs.dump(changed), last=recorded.revision)
                except KeyWrongLastSequenceError:
                    continue
                return Model(spec=changed, generation=generation)

    async def delete(self, model: str) -> None:
        """Record that a model is no longer wanted, and forget how far it has read.

        Raises:
            InvalidNameError: It is no name.
            ModelNotFoundError: No such model.
            BusUnavailableError: It can't be recorded now.
        """
        check_label("model", model, max_length=MAX_MODEL_LENGTH)
        with reporting(f"model {model!r} can't be deleted now"):
            bucket = await self._bus.js.key_value(MODELS_BUCKET)
            await self._recorded(bucket, model)
            await bucket.delete(model)
            await streams.delete_model_consumer(self._bus, model)

    async def run(self) -> None:
        """Follow the buckets until stopped."""
        following = (self._follow_models(), self._follow_routes(), self._follow_deployments())
        await until_set(self._stopping, *following, self._expire())

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        self.touch()

    async def _recorded(self, bucket: KeyValue, model: str) -> KeyValue.Entry:
        try:
            return await bucket.get(model)
        except KeyNotFoundError:  # or deleted
            raise self._unknown(model) from None

    def _unknown(self, model: str) -> ModelNotFoundError:
        known = ", ".join(name for name in self.specs() if name != model) or "none"  # of its end we may not know yet
        return ModelNotFoundError(f"no model {model!r}; deployed: {known}", model=model, deployed=known)

    async def _write(self, spec: ModelSpec, expected: int | None) -> int:
        name, value = spec.name, specs.dump(spec)
        with reporting(f"model {name!r} can't be recorded now"):
            bucket = await self._bus.js.key_value(MODELS_BUCKET)
            if expected is None:
                return await bucket.put(name, value)
            while True:
                # NATS compares: what anybody has read before may be out of date by the time that it is written.
                with suppress(KeyWrongLastSequenceError):
                    if expected:
                        return await bucket.update(name, value, last=expected)
                    return await bucket.create(name, value)
                try:
                    found = (await self._recorded(bucket, name)).revision
                except ModelNotFoundError:
                    if expected:
                        raise
                    continue  # deleted between the two
                raise _clash(name, expected, found)

    async def _follow_models(self) -> None:
        async for content in entries(self._bus, MODELS_BUCKET):
            found: dict[str, ModelSpec] = {}
            for name, entry in content.items():
                try:
                    found[name] = specs.load(name, entry.value)
                except InvalidSpecError as error:
                    log.warning("model.unreadable", model=name, error=str(error))
            generations = {name: content[name].revision for name in found}
            if generations != self._generations:
                for gone in self._specs.keys() - found.keys():
                    self._metrics.end_model(gone)
                self._specs, self._generations = found, generations
                log.info("models.changed", models=sorted(found))
                self.touch()

    async def _follow_routes(self) -> None:
        values: dict[str, bytes] = {}
        async for content in snapshots(self._bus, ROUTES_BUCKET):
            found: dict[str, ModelReplica] = {}
            now = time.monotonic()
            heard = set(self._heard)
            for key, value in content.items():
                known = self._replicas.get(key)
                if known is not None and value == values.get(key):
                    found[key] = known
                elif replica := routes.load(value):
                    found[key] = replica
                    if known is None or known.heartbeat_time != replica.heartbeat_time:
                        self._heard[key] = now
            for gone in self._heard.keys() - found.keys():  # it said goodbye: it has not fallen silent
                del self._heard[gone]
            values = content
            changed = _outlines(found) != _outlines(self._replicas) or heard != self._heard.keys()
            self._replicas = found
            if changed:
                self.touch()

    async def _follow_deployments(self) -> None:
        async for content in snapshots(self._bus, DEPLOYMENTS_BUCKET):
            found = {
                name: status
                for name, value in content.items()
                if (status := encoding.load(value, DeploymentStatus())) is not None
            }
            if found != self._statuses:
                self._statuses = found
                self.touch()

    async def _expire(self) -> None:
        """Notice replicas that have fallen silent; our own clock counts, not theirs."""
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for key in [key for key, heard in self._heard.items() if now - heard > routes.SILENT_SECONDS]:
                self._heard.pop(key)
                log.warning("replica.silent", replica=key)
                self.touch()

    def _status(self, model: str) -> DeploymentStatus | None:
        if (kept := self._statuses.get(model)) is None:
            return None
        status = DeploymentStatus()
        status.CopyFrom(kept)
        status.ready_replica_count = len(self.serving(model))
        return status

    def _live(self, model: str) -> list[ModelReplica]:
        return [
            replica for key, replica in sorted(self._replicas.items()) if replica.model == model and key in self._heard
        ]

    def touch(self) -> None:
        """Have everybody who follows the changes look again."""
        self._serving = {}
        for key, replica in sorted(self._replicas.items()):
            if replica.state == ReplicaState.REPLICA_STATE_SERVING and key in self._heard:
                self._serving.setdefault(replica.model, []).append(replica)
        self._metrics.show_models(self._specs.values())
        for name in self._specs:
            self._metrics.replicas.labels(name).set(len(self.serving(name)))
        self._changed.set()
        self._changed = asyncio.Event()


def _clash(model: str, expected: int, found: int | None) -> FramemeshError:
    if not expected:
        return ModelExistsError(
            f"a model {model!r} is deployed already, at generation {found}: give this one another name, or deploy it "
            "in place of that generation",
            model=model,
            generation=found,
        )
    return ModelChangedError(
        f"model {model!r} was changed meanwhile, and is at generation {found} instead of {expected}: look at it again, "
        "then deploy in place of that generation",
        model=model,
        expected_generation=expected,
        generation=found,
    )


def _origin(caller: str, reason: str) -> Origin:
    return Origin(caller=caller, time=timestamp(time.time_ns()), reason=reason)


def _outlines(replicas: dict[str, ModelReplica]) -> dict[str, tuple[object, ...]]:
    """What matters of each replica to those who follow the changes."""
    return {key: (one.model, one.grpc_address, one.state, one.worker_count) for key, one in replicas.items()}
