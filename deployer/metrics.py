"""Every metric that the deployer exports."""

from prometheus_client import CollectorRegistry, Counter


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
