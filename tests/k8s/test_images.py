"""The images, as far as they can be looked at without a builder; `make images` builds them where one works."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployer.kubernetes.settings import ClusterSettings
from deployer.kubernetes.training import rendered
from framemesh.mesh.servers import program
from tests.k8s.rendering import ROOT, containers, pod_labels, pod_of, render, workloads

Stage = dict[str, list[str]]

DOCKERFILE = ROOT / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = re.findall(r"^IMAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
PACKAGES = {"model-server": "model_server", "exporter": "model_server"}
"""What an image runs, where that isn't its name."""
UNTRACED = {"console", "trainer"}
"""No frame passes through them."""
EXTRAS = {"exporter": "torch", "trainer": "train"}
HELPERS = {"trainer": ["model_server model_server"]}
"""What an image holds besides, as it runs it too."""


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    """The Dockerfile's stages by name: what each instruction was given, in order."""
    copy = tmp_path_factory.mktemp("image") / "Dockerfile"  # the parser opens its file for writing too
    copy.write_text(DOCKERFILE.read_text())
    found: dict[str, Stage] = {"": {}}
    name = ""
    for one in DockerfileParser(str(copy)).structure:
        if one["instruction"] == "FROM":
            name = one["value"].split(" AS ")[1]
            found[name] = {}
        found[name].setdefault(one["instruction"], []).append(one["value"])
    return found


def with_service(stages: dict[str, Stage], image: str, instruction: str) -> list[str]:
    """An image's instructions, with those of the stage that all stand on."""
    assert stages[image]["FROM"] == [f"service AS {image}"]
    return [*stages["service"].get(instruction, []), *stages[image].get(instruction, [])]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        (program("hadolint"), str(DOCKERFILE)), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_has_an_exact_tag_and_there_is_one(stages: dict[str, Stage]) -> None:
    (base,) = stages[""]["ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-\w+", base)
    outside = [stage["FROM"][0].split(" AS ")[0] for name, stage in stages.items() if name]
    assert {one for one in outside if one not in stages} == {"${PYTHON}"}


def test_make_builds_every_image_with_whatever_builder_there_is() -> None:
    def make(builder: str) -> "subprocess.CompletedProcess[str]":
        command = ("make", "--no-print-directory", "images", f"BUILDER={builder}")
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)

    printed = make("echo").stdout
    for image in IMAGES:
        assert f"--target {image} --tag framemesh-{image}:{PROJECT['version']}" in printed
    none = make("")
    assert none.returncode
    assert "no container builder works here" in none.stdout


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_its_own_service_and_environment(stages: dict[str, Stage], image: str) -> None:
    package = PACKAGES.get(image, image)
    assert with_service(stages, image, "COPY") == [
        "framemesh framemesh",
        f"--from={image}-environment /opt/framemesh /opt/framemesh",
        *HELPERS.get(image, []),
        f"{package} {package}",
    ]
    assert json.loads(stages[image]["ENTRYPOINT"][0]) == ["python", "-m", package]
    extra = EXTRAS.get(image, image)
    extras = extra if image in UNTRACED else f"{extra},tracing"
    assert stages[f"{image}-environment"]["RUN"] == [f"pip --python /opt/framemesh install -e '.[{extras}]'"]
    assert extra in PROJECT["optional-dependencies"]
    assert (ROOT / package / "__main__.py").exists()


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_nobodys_and_says_what_it_is(stages: dict[str, Stage], image: str) -> None:
    assert with_service(stages, image, "USER") == ["65532:65532"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in with_service(stages, image, "LABEL")[0]
    assert "/healthz" in with_service(stages, image, "HEALTHCHECK")[0]


def test_the_version_is_the_projects(stages: dict[str, Stage]) -> None:
    assert f"VERSION={PROJECT['version']}" in stages["service"]["ARG"]


def test_dependencies_are_those_that_are_pinned(stages: dict[str, Stage]) -> None:
    assert "PIP_CONSTRAINT=/srv/constraints.txt" in stages["environment"]["ENV"][0]
    assert any("constraints.txt" in one for one in stages["environment"]["COPY"])


def test_no_secret_gets_in() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"
    wanted = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    services = {PACKAGES.get(image, image) for image in IMAGES}
    assert wanted == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "framemesh", *services}
    assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY", DOCKERFILE.read_text())


def test_manifests_run_these_images_as_they_are(stages: dict[str, Stage]) -> None:
    seen = set()
    training = rendered(ClusterSettings(), "signs", ("--dataset", "lake://datasets/signs/1", "--base", "google/vit"))
    for one in workloads([*render("overlays/local"), *render("models/vit-base"), *training]):
        for container in containers(one):
            image = container["image"].partition(":")[0].removeprefix("framemesh-")
            if image not in IMAGES:
                continue
            seen.add(image)
            context = pod_of(one)["securityContext"]
            assert with_service(stages, image, "USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]
            if container.get("ports"):
                exposed = {int(port) for port in with_service(stages, image, "EXPOSE")}
                assert {port["containerPort"] for port in container["ports"]} == exposed, pod_labels(one)
    assert seen == set(IMAGES)


def closure(extra: str) -> set[str]:
    """The distributions that `framemesh[extra]` brings, by name, as those that are installed here say."""
    found: set[tuple[str, str]] = set()
    waiting = [("framemesh", extra), ("framemesh", "")]
    while waiting:
        name, chosen = waiting.pop()
        if (name, chosen) in found:
            continue
        found.add((name, chosen))
        own = chosen if name == "framemesh" else ""
        texts = _project_requirements(own) if name == "framemesh" else requires(name) or []
        for text in texts:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": chosen}):
                waiting += [(canonicalize_name(one.name), wanted) for wanted in (*one.extras, "")]
    return {name for name, _ in found}


def _project_requirements(extra: str) -> list[str]:
    """From the checkout itself: what is installed may be of another one."""
    return list(PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"])


_IMPORT = """
import sys

class Strangers:
    def find_spec(self, name, path=None, target=None):
        if name in strangers:
            raise ModuleNotFoundError(f"No module named {name!r} in this image", name=name)

sys.meta_path.insert(0, Strangers())
import runpy
runpy.run_module(package, run_name="not main")
"""


@pytest.mark.parametrize("image", [image for image in IMAGES if EXTRAS.get(image) not in {"torch", "train"}])
def test_a_service_starts_with_nothing_but_what_its_extra_brings(image: str) -> None:
    brought = closure(EXTRAS.get(image, image))
    assert not brought & {"torch", "transformers"}
    strangers = [
        module
        for module, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & brought
    ]
    assert {"torch", "transformers", "pytest"} <= {*strangers}
    code = f"strangers = {set(strangers)!r}\npackage = {PACKAGES.get(image, image) + '.__main__'!r}\n{_IMPORT}"
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr


def test_the_exporter_has_what_preparing_takes() -> None:
    assert {"torch", "transformers", "onnx", "onnxruntime", "safetensors"} <= closure("torch")
