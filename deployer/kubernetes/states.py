"""What objects say of themselves, and whether they are as they should be. Pure."""

import hashlib
import json
from typing import Any

from deployer.kubernetes import marks
from deployer.kubernetes.objects import Object


def stamped(wanted: Object) -> Object:
    """An object with its digest on it, by which it differs, too, from another that has a field more."""
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    return wanted | {"metadata": wanted["metadata"] | {"annotations": {marks.APPLIED: digest}}}


def within(wanted: Any, there: Any) -> bool:
    """Whether all that is wanted is there; the API server adds defaults to it."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(within(value, there.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(wanted) == len(there) and all(map(within, wanted, there))
    return bool(wanted == there)


def holds(found: Object, condition: str) -> bool:
    """Whether a condition of an object holds."""
    return _condition(found, condition).get("status") == "True"


def reason(found: Object, condition: str) -> str:
    """Why a condition of an object is as it is; empty where there is none."""
    return _condition(found, condition).get("reason", "")


def message(found: Object, condition: str) -> str:
    """What a condition of an object says in words; empty where there is none."""
    return _condition(found, condition).get("message", "")


def is_complete(deployment: Object) -> bool:
    """Whether all its servers are of its own release, and available."""
    status, replicas = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = (status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas"))
    return _is_fresh(deployment) and all(count == replicas for count in counts)


def answers(deployment: Object) -> bool:
    """Whether any of its servers is available."""
    return bool(deployment.get("status", {}).get("availableReplicas", 0))


def is_late(deployment: Object) -> bool:
    """Whether its newest servers have not come up within the time that they had."""
    return _is_fresh(deployment) and reason(deployment, "Progressing") == "ProgressDeadlineExceeded"


def _is_fresh(deployment: Object) -> bool:
    """Whether its status is about what it says now."""
    return bool(deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"])


def _condition(found: Object, kind: str) -> dict[str, str]:
    conditions = found.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == kind), {})
