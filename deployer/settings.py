"""What an operator may set on the deployer."""

from pathlib import Path
from typing import Literal

from framemesh.settings import BusSettings, ModelStoreSettings, ServiceSettings


class DeployerSettings(ServiceSettings, BusSettings, ModelStoreSettings):
    """What an operator may set on the deployer. Everything that model servers may be set goes on to those it starts."""

    deployer_backend: Literal["local"] = "local"
    """What the models run as: processes of this machine."""
    data_dir: Path = Path("framemesh-data")
    """Where local processes keep their logs and the prepared models."""
