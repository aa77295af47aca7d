import os
import subprocess
import sys
from subprocess import PIPE
from textwrap import dedent

import pytest

BUSY_WITH_S3 = """
    import asyncio

    import obstore
    from obstore.store import MemoryStore

    from framemesh.leaving import leave

    async def main() -> None:
        store = MemoryStore()
        puts = [obstore.put_async(store, str(number), b"frame") for number in range(2000)]
        await puts[0]

    asyncio.run(main())
    print("done")
    leave(7)
"""


@pytest.mark.parametrize("_", range(8))  # half of such ends are aborted where the interpreter is taken down
def test_a_program_ends_with_its_code_whatever_its_libraries_still_do(_: int) -> None:
    ended = subprocess.run([sys.executable, "-c", dedent(BUSY_WITH_S3)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (7, "done\n")


def test_a_program_whose_reader_is_gone_ends_all_the_same() -> None:
    program = "from framemesh.leaving import leave; input(); print('told'); leave(3)"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen([sys.executable, "-c", program], env=buffered, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.wait() == 3
