"""`python -m model_server`."""

from framemesh.service import main
from model_server.app import model_server
from model_server.memory import limit_arenas
from model_server.settings import ModelServerSettings

if __name__ == "__main__":
    limit_arenas()
    main("model_server", ModelServerSettings, model_server)
