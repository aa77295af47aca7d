"""How much of a list a caller gets at once."""

from framemesh.errors import InvalidRequestError

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000


def limit_of(asked: int) -> int:
    """How many entries at most, by what the request's `limit` says; 0 stands for 100.

    Raises:
        InvalidRequestError: It is less than 0, or over 1,000.
    """
    if not 0 <= asked <= _MAX_LIMIT:
        raise InvalidRequestError(f"limit can't be {asked}: use 0 to {_MAX_LIMIT}", field="limit")
    return asked or _DEFAULT_LIMIT
