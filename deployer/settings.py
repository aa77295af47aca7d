"""What an operator may set on the deployer."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from deployer.kubernetes.settings import ClusterSettings
from framemesh.settings import BusSettings, ModelStoreSettings, ServiceSettings


def _backend() -> Literal["local", "kubernetes"]:
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else "local"  # which every pod is told


class DeployerSettings(ServiceSettings, BusSettings, ModelStoreSettings, ClusterSettings):
    """What an operator may set on the deployer. Everything that model servers may be set goes on to those it starts."""

    deployer_backend: Literal["local", "kubernetes"] = Field(default_factory=_backend)
    """What the models run as: processes of this machine, or objects of a Kubernetes cluster. By default the latter in a
    pod."""
    data_dir: Path = Path("framemesh-data")
    """Where local processes keep their logs and the prepared models."""
