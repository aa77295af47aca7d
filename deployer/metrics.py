"""Every metric that the deployer exports."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class DeployerMetrics:
    """Made once and handed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.deployments = Counter(
            "framemesh_deployer_deployments_total",
            "Deployments and scalings, by how they ended.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("ready", "rolled_back", "failed"):
            self.deployments.labels(outcome)
        self.failing = Gauge(
            "framemesh_deployer_model_failing",
            "1 while the last try to make a model as it is wanted has failed; else 0.",
            ["model"],
            registry=registry,
        )
        self.trainings = Gauge(
            "framemesh_deployer_trainings",
            "Trainings, of each name the last, by state: waiting, running, stopped, succeeded, failed.",
            ["state"],
            registry=registry,
        )
