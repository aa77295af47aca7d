"""How programs that work for others end, as those who started them understand it."""

import pytest

from framemesh.errors import (
    EXIT_CONFIGURATION,
    EXIT_INTERRUPTED,
    EXIT_TRY_AGAIN,
    ConfigurationError,
    FramemeshError,
    LakeUnavailableError,
    ModelUnavailableError,
)
from framemesh.exits import KILLED, exit_code, reported


@pytest.mark.parametrize(
    ("error", "understood"),
    [
        (ConfigurationError("no such model"), ConfigurationError),
        (ModelUnavailableError("the hub is away"), ModelUnavailableError),
        (LakeUnavailableError("the lake is away"), ModelUnavailableError),
    ],
)
def test_an_error_comes_out_with_its_words_and_whether_trying_again_may_help(
    error: FramemeshError, understood: type[FramemeshError]
) -> None:
    found = reported(exit_code(error), str(error), source="hub/vit")
    assert (type(found), str(found)) == (understood, str(error))
    assert found is not None
    assert found.values == {"source": "hub/vit"}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0, "all is well"),
        (1, "a traceback"),
        (KILLED, ""),
        (EXIT_INTERRUPTED, "it goes on"),
        (EXIT_CONFIGURATION, ""),
        (EXIT_TRY_AGAIN, ""),
    ],
)
def test_an_end_without_words_for_it_is_no_such_error(code: int, told: str) -> None:
    assert reported(code, told) is None
