"""`python -m model_server`."""

import sys

# structlog imports it where it finds it, and pygments with it: 6 MB in each replica, which draws nothing.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

from framemesh.service import main  # noqa: E402
from model_server.app import model_server  # noqa: E402
from model_server.memory import limit_arenas  # noqa: E402
from model_server.settings import ModelServerSettings  # noqa: E402

if __name__ == "__main__":
    limit_arenas()
    main("model_server", ModelServerSettings, model_server)
