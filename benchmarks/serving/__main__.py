"""`python -m benchmarks.serving`: the comparison, printed as tables and saved as JSON."""

import argparse
import json
import platform
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving import model, photos
from benchmarks.serving.contestants import Site
from benchmarks.serving.report import tables
from benchmarks.serving.rounds import Plan, run
from benchmarks.serving.targets import TARGETS, chosen
from model_server.cores import usable_cores

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measure and report."""
    arguments = _arguments()
    # Servers are stopped on the way out, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        targets = chosen(arguments.only)
    except ValueError as error:
        sys.exit(f"benchmarks.serving: {error}")
    cache = arguments.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    source, prepared = model.make(cache)
    plan = Plan(
        sizes={size: photos.make(size, cache) for size in arguments.sizes},
        concurrencies=(1, 8, 32),
        rate=30,
        rounds=arguments.rounds or (1 if arguments.quick else 3),
        seconds=1.0 if arguments.quick else 2.0,
        open_seconds=2.0 if arguments.quick else 4.0,
    )
    results = run(targets, Site(cache, source, prepared, usable_cores()), plan)
    machine = f"{usable_cores()} cores of {_processor()}, Python {platform.python_version()}"
    text = tables(results, targets, plan, machine)
    print(text)
    arguments.save.with_suffix(".md").write_text(text + "\n")
    arguments.save.write_text(json.dumps({"machine": machine, **asdict(results)}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    names = ", ".join(target.name for target in TARGETS)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"beside the limit, of: {names}")
    parser.add_argument("--sizes", nargs="+", default=list(photos.SIZES), choices=photos.SIZES)
    parser.add_argument("--rounds", type=int, help="3 unless told otherwise")
    parser.add_argument("--quick", action="store_true", help="one short round: to try, not to quote")
    parser.add_argument("--cache", type=Path, default=_ROOT / ".bench", help="for environments, models and logs")
    parser.add_argument(
        "--save", type=Path, default=Path(__file__).with_name("results.json"), help="and the tables beside it, as .md"
    )
    return parser.parse_args()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
