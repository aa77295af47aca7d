import numpy as np

from model_server.runtimes import Arrays
from model_server.signature import ANY, observed

PIXELS = np.zeros((1, 3, 32, 48), np.float32)
OUTPUTS: Arrays = {"boxes": np.zeros((1, 100, 4), np.float32), "tokens": np.zeros((1, 7), np.int64)}


def test_a_fixed_graph_has_the_sizes_of_its_first_run() -> None:
    signature = observed(PIXELS, OUTPUTS, fixed_input=True, fixed_outputs=True)
    assert (signature.input.name, signature.input.shape) == ("pixel_values", (ANY, 3, 32, 48))
    assert [(one.name, one.dtype.name, one.shape) for one in signature.outputs] == [
        ("boxes", "float32", (ANY, 100, 4)), ("tokens", "int64", (ANY, 7))
    ]  # fmt: skip


def test_what_may_vary_is_said_to() -> None:
    signature = observed(PIXELS, OUTPUTS, fixed_input=False, fixed_outputs=True)
    assert signature.input.shape == (ANY, 3, ANY, ANY)
    assert [one.shape for one in signature.outputs] == [(ANY, ANY, ANY), (ANY, ANY)]
    signature = observed(PIXELS, OUTPUTS, fixed_input=True, fixed_outputs=False)
    assert signature.input.shape == (ANY, 3, 32, 48)
    assert signature.outputs[0].shape == (ANY, ANY, ANY)
