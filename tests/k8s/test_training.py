"""A training in a cluster: one Job, which holds what all of ours hold."""

import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from deployer.kubernetes.settings import ClusterSettings
from deployer.kubernetes.training import rendered
from framemesh.errors import ConfigurationError
from tests.k8s import network, policies
from tests.k8s.rendering import Object, named, pod_of

WORDS = ("--dataset", "lake://datasets/signs/1", "--base", "google/vit-base-patch16-224", "--epochs", "3")


def test_it_holds_what_every_object_of_ours_does_and_reaches_the_hub_and_the_lake_alone(local: list[Object]) -> None:
    (job,) = rendered(ClusterSettings(), "signs", WORDS)
    for kubernetes in ("1.26", "1.33"):
        kubernetes_validate.validate(job, kubernetes, strict=True)
    assert policies.problems([*local, job]) == policies.problems(local)
    found = [*local, job]
    assert network.reachable(network.edges(found), named(job)) == {"StatefulSet/s3"}
    assert named(job) in network.to_outside(found)


def test_it_is_told_what_to_train_and_may_take_its_time_to_leave_a_checkpoint() -> None:
    (job,) = rendered(ClusterSettings(trainer_gpus=1), "signs", WORDS)
    (container,) = pod_of(job)["containers"]
    assert container["args"] == ["--folder", "/cache", "--name", "signs", *WORDS]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod_of(job)["terminationGracePeriodSeconds"] == 300
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]  # a node that goes away costs no try
    other = rendered(ClusterSettings(), "signs", (*WORDS[:-1], "4"))
    assert other[0]["metadata"]["name"] != job["metadata"]["name"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--dataset", "signs", "--base", "google/vit"), "no pod can read the dataset 'signs'"),
        (("--dataset", "lake://datasets/signs/1", "--base", "./vit"), "no pod can read the base './vit'"),
    ],
)
def test_what_no_pod_can_read_is_told(words: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        rendered(ClusterSettings(), "signs", words)


def test_the_command_prints_it() -> None:
    argv = [sys.executable, "-m", "deployer.kubernetes.training", "signs", *WORDS]
    printed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert list(yaml.safe_load_all(printed.stdout)) == rendered(ClusterSettings(), "signs", WORDS)
