"""`python -m gateway`."""

from framemesh.service import main
from gateway.app import gateway
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    main("gateway", GatewaySettings, gateway)
