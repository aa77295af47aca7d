"""Debian's promtool, which knows rules as Prometheus does."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from framemesh.mesh.observing import Rules

needed = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool: Debian's package prometheus")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool; never raises."""
    promtool = shutil.which("promtool")
    assert promtool is not None
    return subprocess.run((promtool, *map(str, words)), capture_output=True, text=True, check=False, timeout=120)


def write(path: Path, rules: Rules) -> Path:
    """A file of rules."""
    path.write_text(yaml.safe_dump(rules, sort_keys=False))
    return path
