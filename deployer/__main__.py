"""`python -m deployer`."""

from deployer.app import deployer
from deployer.settings import DeployerSettings
from framemesh.service import main

if __name__ == "__main__":
    main("deployer", DeployerSettings, deployer)
