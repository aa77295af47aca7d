"""The model that all serve: the demo's EfficientNet-Lite0, prepared as our server prepares it."""

import json
import subprocess
import sys
from pathlib import Path

NAME = "efficientnet-lite0"


def make(cache: Path) -> tuple[Path, Path]:
    """The Hugging Face folder, and our prepared one. Takes half a minute the first time.

    In processes of their own: torch stays out of the one that measures.
    """
    source = cache / "models" / NAME
    subprocess.run([sys.executable, "-m", "demo.models", NAME, str(source)], check=True)
    building = [
        sys.executable, "-m", "model_server.building", "--revision", "", "--runtime", "onnx",
        "--cache", str(prepared_cache(cache)), "--", str(source),
    ]  # fmt: skip
    built = subprocess.run(building, check=True, stdout=subprocess.PIPE, text=True)
    return source, Path(json.loads(built.stdout.splitlines()[-1])["folder"])


def prepared_cache(cache: Path) -> Path:
    """Where prepared models lie, for our server too."""
    return cache / "models" / "prepared"
