"""Our rules with every duration divided, so that what they see in an hour they see in minutes."""

import re

from framemesh.mesh.observing import Rules, rules

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RANGE = re.compile(r"\[(\d+)([smhd])\]")


def scaled(by: int) -> Rules:
    """Our rules, with `for` and every range divided."""
    found = rules()
    for group in found["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda match: f"[{_divided(*match.groups(), by=by)}]", rule["expr"])
            if "for" in rule:
                rule["for"] = _divided(rule["for"][:-1], rule["for"][-1], by=by)
    return found


def _divided(number: str, unit: str, *, by: int) -> str:
    return f"{int(number) * _SECONDS[unit] * 1000 // by}ms"
