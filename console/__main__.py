"""`python -m console`."""

from console.app import console
from console.settings import ConsoleSettings
from framemesh.service import main

if __name__ == "__main__":
    main("console", ConsoleSettings, console)
