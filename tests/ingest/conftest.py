import pytest
from prometheus_client import CollectorRegistry

from ingest.metrics import IngestMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> IngestMetrics:
    return IngestMetrics(registry)
