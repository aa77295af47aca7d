"""Who may talk to whom by the NetworkPolicies of a namespace, computed as Kubernetes does. Pure.

A connection needs the sender's leave and the receiver's: each pod that a policy of the direction selects may only do
what some policy says, and every other pod whatever it likes.
"""

from tests.k8s.policies import matches
from tests.k8s.rendering import Object, containers, named, pod_labels, workloads

Edge = tuple[str, str, int]


def edges(objects: list[Object]) -> set[Edge]:
    """Every connection between pods that is allowed: sender and receiver as `Kind/name`, and the receiver's port."""
    policies = [made for made in objects if made["kind"] == "NetworkPolicy"]
    pods = workloads(objects)
    return {
        (named(sender), named(receiver), port)
        for sender in pods
        for receiver in pods
        for port in _ports(receiver)
        if _allowed(policies, "Egress", sender, receiver, port)
        and _allowed(policies, "Ingress", receiver, sender, port)
    }


def from_outside(objects: list[Object]) -> set[tuple[str, int]]:
    """Pods and ports that anything outside of the namespace may reach: by a policy that names no pods of it."""
    policies = [made for made in objects if made["kind"] == "NetworkPolicy"]
    return {
        (named(pod), port)
        for pod in workloads(objects)
        for port in _ports(pod)
        if _allowed(policies, "Ingress", pod, None, port)
    }


def to_outside(objects: list[Object]) -> set[str]:
    """Pods that may open connections to addresses that are no pod's of this namespace, DNS aside."""
    policies = [made for made in objects if made["kind"] == "NetworkPolicy" and made["metadata"]["name"] != "dns"]
    return {
        named(pod)
        for pod in workloads(objects)
        if any(_allowed(policies, "Egress", pod, None, port) for port in (443, 6443, 80, 4222, 8333))
    }


def reachable(found: set[Edge], start: str) -> set[str]:
    """Everything that can be reached from a pod, by way of others too."""
    seen: set[str] = set()
    new = {start}
    while new:
        seen |= new
        new = {receiver for sender, receiver, _ in found if sender in new} - seen
    return seen - {start}


def _ports(pod: Object) -> list[int]:
    return [port["containerPort"] for container in containers(pod) for port in container.get("ports", [])]


def _allowed(policies: list[Object], direction: str, pod: Object, other: Object | None, port: int) -> bool:
    """Whether a pod may have this connection; `other` is None for an address outside of the namespace."""
    chosen = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod_labels(pod))
    ]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
    return not chosen or any(_fits(rule, direction, other, port) for rule in rules)


def _fits(rule: Object, direction: str, other: Object | None, port: int) -> bool:
    if "ports" in rule and port not in [one["port"] for one in rule["ports"] if one.get("protocol", "TCP") == "TCP"]:
        return False
    peers = rule.get("from" if direction == "Ingress" else "to")
    return not peers or any(_is(peer, other) for peer in peers)


def _is(peer: Object, other: Object | None) -> bool:
    if "ipBlock" in peer or peer.get("namespaceSelector"):
        return other is None  # of addresses and of other namespaces we only know that they are not ours
    if "namespaceSelector" in peer:  # every namespace, ours too
        return other is None or matches(peer["podSelector"], pod_labels(other))
    return other is not None and matches(peer["podSelector"], pod_labels(other))
