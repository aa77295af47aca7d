"""The tables: medians of the rounds with their spread, ratios round by round."""

from collections.abc import Callable
from statistics import median

from benchmarks.serving.order import FORMS, Form
from benchmarks.serving.rounds import Cell, Plan, Results
from benchmarks.serving.targets import LIMIT, OURS, Target

_Entry = tuple[str, Form]
_Measure = Callable[[Cell], float]
_OURS: _Entry = (OURS, "scaled")
_TIMES_THE_BEST = {"scaled": 1.0, "full": 1.5}
_FORM_NAMES: dict[Form, str] = {"scaled": "our scaled decoding", "full": "transformers' processor"}


class Table:
    """Cells by contestant, size and load, each a list over the rounds."""

    def __init__(self, results: Results, plan: Plan) -> None:
        self._cells = {(cell.name, cell.form, cell.size, cell.load, cell.round): cell for cell in results.cells}
        self._rounds = range(plan.rounds)
        closed = [name for name, load in plan.loads() if load.rate is None and load.concurrency > 1]
        self.saturating = closed
        self.entries = list(dict.fromkeys((cell.name, cell.form) for cell in results.cells))

    def values(self, entry: _Entry, size: str, load: str, measure: _Measure) -> dict[int, float]:
        """A measure by round, of those rounds that have it."""
        keys = {number: (*entry, size, load, number) for number in self._rounds}
        return {number: measure(self._cells[key]) for number, key in keys.items() if key in self._cells}

    def saturation(self, entry: _Entry, size: str) -> dict[int, float]:
        """Images a second by round, under the load where it makes the most of them."""
        several = [self.values(entry, size, load, lambda cell: cell.throughput) for load in self.saturating]
        return max(several, key=lambda values: median(values.values()) if values else 0.0)

    def limit_beside_sender(self, size: str) -> dict[int, float]:
        """Images a second by round that the limit would make with what our sender takes of the cores taken off."""
        work = self.values((LIMIT, "scaled"), size, self.saturating[0], lambda cell: cell.cpu)
        sender = self.values(_OURS, size, self.saturating[0], lambda cell: cell.sender_cpu)
        limit = self.saturation((LIMIT, "scaled"), size)
        rounds = work.keys() & sender.keys() & limit.keys()
        return {number: limit[number] * work[number] / (work[number] + sender[number]) for number in rounds}

    def overhead(self, entry: _Entry, size: str) -> dict[int, float]:
        """CPU seconds a request by round over those of the limit in the same form, at 8 at once."""
        own = self.values(entry, size, self.saturating[0], lambda cell: cell.cpu)
        limit = self.values((LIMIT, entry[1]), size, self.saturating[0], lambda cell: cell.cpu)
        return {number: own[number] - limit[number] for number in own.keys() & limit.keys()}

    def peers(self, form: Form) -> list[_Entry]:
        """The others' servers in a form."""
        return [entry for entry in self.entries if entry[1] == form and entry[0] not in {LIMIT, OURS}]


def tables(results: Results, targets: list[Target], plan: Plan, machine: str) -> str:
    """Everything, as Markdown."""
    table = Table(results, plan)
    how = f"{plan.rounds} rounds of {plan.seconds:g} s for each, {plan.open_seconds:g} s for the open loop"
    blocks = [f"{machine}; {how}. Medians of the rounds (least to most)."]
    for size in plan.sizes:
        blocks += [f"## {size}", _throughput(table, results, size, plan), _latency(table, size, plan)]
    blocks += ["## Against the limit and the best", _verdicts(table, plan), "## Who is compared", _notes(targets)]
    failures = [f"- {trial.name} ({trial.form}): {trial.problem}" for trial in results.trials if trial.problem]
    failures += [f"- {problem}" for problem in results.problems]
    if failures:
        blocks += ["## Not measured, or with failures", "\n".join(failures)]
    return "\n\n".join(blocks)


def _throughput(table: Table, results: Results, size: str, plan: Plan) -> str:
    closed = [name for name, load in plan.loads() if load.rate is None]
    head = ["server", "input", *(f"img/s, {load}" for load in closed)]
    head += ["CPU ms/request", "over the limit", "sender's CPU ms", "RSS MB", "PSS MB"]
    memory = {(trial.name, trial.form): trial for trial in results.trials}
    rows = []
    for entry in table.entries:
        cells = [_spread(table.values(entry, size, load, lambda cell: cell.throughput), 1) for load in closed]
        cpu = table.values(entry, size, table.saturating[0], lambda cell: cell.cpu)
        sender = table.values(entry, size, table.saturating[0], lambda cell: cell.sender_cpu)
        cells += [_spread(cpu, 1000, 2), _spread(table.overhead(entry, size), 1000, 2) if entry[0] != LIMIT else "-"]
        cells += [f"{median(sender.values()) * 1000:.2f}" if sender and entry[0] != LIMIT else "-"]
        cells += [f"{memory[entry].rss_bytes / 1e6:.0f}", f"{memory[entry].pss_bytes / 1e6:.0f}"]
        rows.append([entry[0], _FORM_NAMES[entry[1]], *cells])
    return _markdown(head, rows)


def _latency(table: Table, size: str, plan: Plan) -> str:
    loads = [name for name, _ in plan.loads()]
    head = ["server", "input", *(f"p50 / p99 ms, {load}" for load in loads)]
    rows = []
    for entry in table.entries:
        cells = []
        for load in loads:
            p50 = table.values(entry, size, load, lambda cell: cell.p50)
            p99 = table.values(entry, size, load, lambda cell: cell.p99)
            cells.append(f"{median(p50.values()) * 1000:.1f} / {_spread(p99, 1000)}" if p50 else "-")
        rows.append([entry[0], _FORM_NAMES[entry[1]], *cells])
    return _markdown(head, rows)


def _verdicts(table: Table, plan: Plan) -> str:
    """Each as a ratio round by round, with what it must be."""
    rows: list[list[str]] = []
    if _OURS not in table.entries:
        return "Ours was not measured."
    for size in plan.sizes:
        ours = table.saturation(_OURS, size)
        limit = table.saturation((LIMIT, "scaled"), size)
        rows.append(_row(size, "throughput at saturation / the limit's", LIMIT, _ratios(ours, limit), least=0.95))
        beside = _ratios(ours, table.limit_beside_sender(size))
        rows.append(_row(size, "the same, less what the sender takes", LIMIT, beside, least=0.95))
        for form in FORMS:
            rates = {peer: table.saturation(peer, size) for peer in table.peers(form)}
            if rates:
                best = max(rates, key=lambda peer: median(rates[peer].values()))
                what = f"throughput at saturation / the best's with {_FORM_NAMES[form]}"
                rows.append(_row(size, what, best[0], _ratios(ours, rates[best]), least=_TIMES_THE_BEST[form]))
        loads = [table.saturating[0], *(name for name, load in plan.loads() if load.rate is not None)]
        for load in loads:
            late = {peer: table.values(peer, size, load, lambda cell: cell.p99) for peer in table.peers("scaled")}
            late = {peer: values for peer, values in late.items() if values}
            if late:
                best = min(late, key=lambda peer: median(late[peer].values()))
                own = table.values(_OURS, size, load, lambda cell: cell.p99)
                rows.append(_row(size, f"p99, {load} / the best's", best[0], _ratios(own, late[best]), most=1.0))
        over = {peer: table.overhead(peer, size) for peer in table.peers("scaled")}
        over = {peer: values for peer, values in over.items() if values}
        if over:
            best = min(over, key=lambda peer: median(over[peer].values()))
            own = table.overhead(_OURS, size)
            more = {number: (own[number] - over[best][number]) * 1000 for number in own.keys() & over[best].keys()}
            rows.append(_row(size, "CPU ms/request over the limit - the best's", best[0], more, most=0.0))
    return _markdown(["input", "measure", "against", "ours", "must be", "holds"], rows)


def _ratios(ours: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    return {number: ours[number] / other[number] for number in ours.keys() & other.keys() if other[number]}


def _row(
    size: str,
    what: str,
    against: str,
    values: dict[int, float],
    *,
    least: float | None = None,
    most: float | None = None,
) -> list[str]:
    if not values:
        return [size, what, against, "-", "-", "not measured"]
    middle = median(values.values())
    holds = middle >= least if least is not None else middle <= (most or 0.0)
    bound = f"at least {least:g}" if least is not None else f"at most {most:g}"
    return [size, what, against, _spread(values, 1, 3), bound, "yes" if holds else "**no**"]


def _notes(targets: list[Target]) -> str:
    rows = [[target.name, ", ".join(target.requirements) or "-", target.note] for target in targets]
    return _markdown(["server", "packages", "how"], rows)


def _spread(values: dict[int, float], factor: float, digits: int = 1) -> str:
    if not values:
        return "-"
    each = [value * factor for value in values.values()]
    return f"{median(each):.{digits}f} ({min(each):.{digits}f} to {max(each):.{digits}f})"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
