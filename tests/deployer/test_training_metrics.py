"""What the deployer's metrics say of trainings, with a backend that ends each as the test wants."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from deployer.ledger import Ledger
from deployer.metrics import DeployerMetrics
from deployer.trainings import Tell, TrainingParts, Trainings
from framemesh.bus import Bus, encoding
from framemesh.bus.streams import TRAINING_PROGRESS_BUCKET, TRAININGS_BUCKET
from framemesh.errors import ConfigurationError
from framemesh.service import running
from framemesh.v1.training_pb2 import TrainingResult, TrainingSpec, TrainingStatus
from tests.deployer.conftest import until

STATES = ("waiting", "running", "stopped", "succeeded", "failed")
READING, LEARNING = '{"step": "reading"}', '{"step": "training", "share": 0.5}'


class Scripted:
    """A backend in which some wait, some learn until they are stopped, some fail, and others succeed."""

    async def owned(self) -> set[str]:
        return set()

    async def train(self, spec: TrainingSpec, tell: Tell) -> TrainingResult:
        said: Sequence[str] = () if spec.base == "waits" else (READING, LEARNING)
        tell(said, "")
        match spec.base:
            case "waits" | "learns":
                await asyncio.Event().wait()
            case "fails":
                raise ConfigurationError("no such base")
        return TrainingResult(source=f"lake://models/{spec.name}/r1")

    async def stop(self, name: str) -> None:
        pass


async def test_the_metrics_count_trainings_by_state_as_they_come_and_go(bus: Bus) -> None:
    registry = CollectorRegistry()
    ledger = Ledger(bus, TRAINING_PROGRESS_BUCKET, TrainingStatus)
    await ledger.open()
    parts = TrainingParts(Scripted(), ledger, DeployerMetrics(registry))

    def counted() -> dict[str, float | None]:
        return {state: registry.get_sample_value("framemesh_deployer_trainings", {"state": state}) for state in STATES}

    async with running(ledger, Trainings(bus, parts), drain_seconds=10):
        assert counted() == dict.fromkeys(STATES, 0)
        bucket = await bus.js.key_value(TRAININGS_BUCKET)
        specs = {
            name: TrainingSpec(name=name, dataset="lake://datasets/signs/1", base=base)
            for name, base in (("a", "waits"), ("b", "learns"), ("c", "learns"), ("d", "fails"), ("e", "succeeds"))
        }
        for name, spec in specs.items():
            await bucket.put(name, encoding.dump(spec))
        await until(lambda: counted() == {"waiting": 1, "running": 2, "stopped": 0, "succeeded": 1, "failed": 1})
        specs["b"].stopped = True
        await bucket.put("b", encoding.dump(specs["b"]))
        await bucket.delete("d")
        await until(lambda: counted() == {"waiting": 1, "running": 1, "stopped": 1, "succeeded": 1, "failed": 0})
