"""How our programs end."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit code once what it has said is written.

    Python's own way would take the interpreter down under the threads of libraries written in Rust, such as those that
    talk to S3: one that is about to drop a Python object then aborts the process, whatever its exit code was to be
    (PyO3/pyo3-async-runtimes#40). So handlers of `atexit` don't run: leave the blocks of what has to be closed first.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone, or it was closed
            stream.flush()
    os._exit(code)
