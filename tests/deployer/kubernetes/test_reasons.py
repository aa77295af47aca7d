import json

import pytest

from deployer.kubernetes.reasons import is_final, trouble
from tests.deployer.kubernetes.applying import Object


def pod(status: Object) -> Object:
    container = {"image": "server:1", "resources": {"limits": {"memory": "2Gi"}}}
    return {"metadata": {"name": "model-vit-1"}, "spec": {"containers": [container]}, "status": status}


def ended(code: int, reason: str = "Error", message: str = "") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


LOG = '{"event": "model.loading"}\n{"event": "service.failed", "error": "the model needs torch"}'


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({}, ""),
        ({"containerStatuses": [{"ready": True, "state": {"running": {}}}]}, ""),
        (
            {"containerStatuses": [{"ready": True, "state": {"running": {}}, "lastState": ended(137, "OOMKilled")}]},
            "",
        ),
        ({"containerStatuses": [{"state": ended(0, "Completed")}]}, ""),
        ({"containerStatuses": [{"state": ended(137, "OOMKilled")}]}, "out of memory: it may have 2Gi"),
        (
            {"containerStatuses": [{"state": waits("CrashLoopBackOff"), "lastState": ended(78, message=LOG)}]},
            "the model needs torch",
        ),
        (
            {"containerStatuses": [{"state": ended(1, message="Traceback\nValueError: no\n")}]},
            "it ended with 1: ValueError: no",
        ),
        (
            {"containerStatuses": [{"state": waits("ImagePullBackOff", "not found")}]},
            "image server:1 can't be pulled: not found",
        ),
        (
            {"containerStatuses": [{"state": waits("CreateContainerConfigError", 'secret "model-server" not found')}]},
            'its container can\'t be made: secret "model-server" not found',
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]},
            "unschedulable: 0/1 nodes are available",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "evicted: low on disk"),
    ],
)
def test_a_pod_says_what_is_wrong_with_it(status: Object, told: str) -> None:
    assert trouble([pod({}), pod(status)]) == told


def test_only_what_no_restart_can_mend_is_final() -> None:
    def crashed(code: int) -> Object:
        return pod({"containerStatuses": [{"state": waits("CrashLoopBackOff"), "lastState": ended(code)}]})

    assert is_final([crashed(78)])
    assert not is_final([crashed(1), crashed(75), crashed(137), pod({})])


def test_a_log_that_is_cut_in_the_middle_is_no_trouble() -> None:
    message = json.dumps({"error": "x" * 10})[3:] + "\n" + json.dumps({"error": "the end"})
    assert trouble([pod({"containerStatuses": [{"state": ended(78, message=message)}]})]) == "the end"
