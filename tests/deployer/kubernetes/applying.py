"""Server-side apply as the API server does it, but for lists, which are one value here: who owns which field."""

from copy import deepcopy
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]
Owners = dict[str, set[Path]]

_NOBODYS = {("apiVersion",), ("kind",), ("status",)} | {
    ("metadata", field) for field in ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
}


class ConflictError(Exception):
    """Another manager owns a field that is to have another value."""


def leaves(content: Object, within: Path = ()) -> dict[Path, Any]:
    """The fields of an object that somebody can own, with their values."""
    found: dict[Path, Any] = {}
    for key, value in content.items():
        path = (*within, key)
        if path in _NOBODYS:
            continue
        if isinstance(value, dict) and value:
            found |= leaves(value, path)
        else:
            found[path] = value
    return found


def applied(live: Object, owners: Owners, config: Object, manager: str, *, force: bool) -> Object:
    """The object with a manager's fields as its configuration has them; `owners` is changed to match.

    Raises:
        ConflictError: Others own some of them, and it is not forced.
    """
    wanted, there = leaves(config), leaves(live)
    others = {name: fields for name, fields in owners.items() if name != manager}
    taken = [
        (name, path)
        for path, value in wanted.items()
        if path in there and there[path] != value
        for name, fields in others.items()
        if path in fields
    ]
    if taken and not force:
        told = ", ".join(f'"{name}": .{".".join(path)}' for name, path in taken)
        raise ConflictError(f"Apply failed with {len(taken)} conflicts: conflicts with {told}")
    for name, path in taken:
        owners[name].discard(path)
    changed = deepcopy(live)
    for path in owners.get(manager, set()) - wanted.keys():
        if not any(path in fields for fields in others.values()):
            _drop(changed, path)
    for path, value in wanted.items():
        _put(changed, path, value)
    owners[manager] = set(wanted)
    return changed


def merged(live: Object, owners: Owners, patch: Object, manager: str) -> Object:
    """The object with a merge patch on it (RFC 7386), whose fields the manager then shares."""
    changed = deepcopy(live)
    _merge(changed, patch)
    owners.setdefault(f"{manager} (update)", set()).update(
        path for path, value in leaves(patch).items() if value is not None
    )
    return changed


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _put(target: Object, path: Path, value: Any) -> None:
    *parents, last = path
    for key in parents:
        target = target.setdefault(key, {})
    target[last] = deepcopy(value)


def _drop(target: Object, path: Path) -> None:
    *parents, last = path
    for key in parents:
        target = target.get(key, {})
    target.pop(last, None)
