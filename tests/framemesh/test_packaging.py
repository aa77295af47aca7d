import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_brings_no_package_but_our_own(tmp_path: Path) -> None:
    build = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run([sys.executable, *build], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"framemesh"}


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return {name.partition(".")[0] for name in out.stdout.split()}


def test_the_gateway_starts_without_torch_and_transformers() -> None:
    assert not imported_by("gateway.__main__") & {"torch", "transformers", "onnxruntime", "numpy"}


def test_cameras_start_without_torch_and_transformers() -> None:
    assert not imported_by("ingest.__main__") & {"torch", "transformers", "onnxruntime"}


def test_a_client_needs_neither_nats_nor_s3_nor_an_image_library() -> None:
    assert not imported_by("framemesh.client") & {"nats", "obstore", "PIL", "aiohttp", "pydantic", "structlog"}
    services = {
        "nats",
        "obstore",
        "PIL",
        "aiohttp",
        "pydantic",
        "structlog",
        "psutil",
        "prometheus_client",
    }
    assert not imported_by("framemesh.cli") & services
