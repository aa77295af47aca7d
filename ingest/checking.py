"""`python -m ingest.checking`: whether the cameras that the environment names can be used, without starting any.

Prints their names as JSON, or to standard error what is wrong; ends with 78 then.
"""

import json
import sys

from pydantic import SecretStr, ValidationError

from framemesh.errors import EXIT_CONFIGURATION, ConfigurationError
from framemesh.service import settings_problems
from ingest.camera_file import read_cameras
from ingest.settings import IngestSettings


def main() -> None:
    """Check, and tell."""
    try:
        settings = IngestSettings(nats_url=SecretStr("nats://unused"))
        cameras = settings.cameras if settings.cameras_file is None else read_cameras(settings.cameras_file)
    except ValidationError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in settings_problems(error))
        sys.exit(EXIT_CONFIGURATION)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_CONFIGURATION)
    sys.stdout.write(json.dumps([camera.name for camera in cameras]) + "\n")


if __name__ == "__main__":
    main()
