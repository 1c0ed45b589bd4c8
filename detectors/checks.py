"""The contract that every detector is tested against; for your own detectors as well.

.. code-block:: python

    from detectors.base import detector_of
    from detectors.checks import checks_for

    @pytest.mark.parametrize("check", checks_for(detector_of(my_rule)), ids=str)
    def test_contract(check):
        check()

A check raises ContractError with one line that says what is wrong. That compiled and plain code
give the same bits needs two processes: ``dump`` writes what one of them computed.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Quantity
from detectors.base import (
    CLOSE_REASONS,
    CONTRIBUTES,
    CRITICAL,
    FINDING,
    INCIDENT,
    INFO,
    JUDGING,
    PASSING,
    TIMERS,
    Detector,
    Found,
)
from detectors.compile import walk_for
from detectors.errors import ContractError
from detectors.event import (
    BELIEVED,
    DAY,
    EVENT,
    FRESHNESS,
    KINDS,
    MINUTE,
    PLANS,
    POLICIES,
    REASONS,
    REJECTED,
    SECOND,
    VERDICTS,
    VERIFIED,
)
from detectors.params import params_dtype
from detectors.walk import end_of, next_of, record_dtype
from ingest.schema import Reason

MAX_ROW_BYTES = 256
TESTED_MATH = frozenset({"exp", "log", "log1p", "expm1", "sqrt", "erf", "tanh", "pow"})
"""Functions of ``math`` whose compiled results equal the plain ones bit for bit."""
LABEL = re.compile(r"[a-z][a-z0-9_]*")
ID = re.compile(r"[a-z][a-z0-9-]*")
EVENTS = 2_000


@dataclass(frozen=True)
class Check:
    """One point of the contract, for one detector."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check; ContractError says what is wrong."""
        self.run()

    def __str__(self) -> str:
        return self.name


def checks_for(detector: Detector) -> list[Check]:
    """Return all checks that one process can make."""
    points = (
        names_are_labels,
        docstring_names_its_gaps,
        rows_are_bounded,
        params_are_explained,
        source_keeps_the_rules,
        step_fills_out_or_leaves_it,
        timers_move_on,
        extreme_rows_do_no_harm,
        every_reason_is_explained,
    )
    return [
        Check(point.__name__, lambda point=point: point(detector))  # type: ignore[misc]
        for point in points
    ]


def names_are_labels(detector: Detector) -> None:
    """The id, the reasons and the names of the evidence are labels, each used once."""
    _require(bool(ID.fullmatch(detector.id)), detector, f"id {detector.id!r} is no label")
    for kind, names in (
        ("reason", detector.reasons),
        ("evidence", tuple(name for name, _ in detector.evidence)),
    ):
        for name in names:
            _require(bool(LABEL.fullmatch(name)), detector, f"{kind} {name!r} is no label")
        _require(len(set(names)) == len(names), detector, f"a {kind} stands twice")
    clash = {name for name, _ in detector.evidence} & set(detector.out.names[:7] or ())  # type: ignore[index]
    _require(not clash, detector, f"evidence {sorted(clash)} clashes with the common fields")


def docstring_names_its_gaps(detector: Detector) -> None:
    """The docstring says what the detector does not see."""
    text = detector.module.__doc__ or ""
    _require("known gaps" in text.lower(), detector, "the docstring has no 'Known gaps'")


def rows_are_bounded(detector: Detector) -> None:
    """Rows are small and hold signed integers, floats and short arrays of them, nothing else."""
    _require(1 <= len(detector.tables) <= 3, detector, "a detector has one to three tables")
    for table in detector.tables:
        where = "+".join(table.key)
        if detector.is_shared:
            alone = len(table.key) == 1 and len(detector.tables) == 1
            _require(alone, detector, f"table {where}: what is shared has one table with one key")
        else:
            _require(table.key[0] == "sender", detector, f"table {where}: the sender comes first")
        for column in table.key:
            _require(column in (EVENT.names or ()), detector, f"table {where}: no column {column}")
        _require(table.row.itemsize <= MAX_ROW_BYTES, detector, f"table {where}: row too large")
        for name in table.row.names or ():
            kind = table.row[name].base.kind
            _require(kind in "if", detector, f"table {where}: field {name} is no number")
        kinds = [(name, table.row[name].str[1:]) for name in table.row.names or ()]
        own = {name for name, _ in JUDGING} & {name for name, _ in kinds}
        heads = (INCIDENT, TIMERS, JUDGING) if table.timer is not None else ([],)
        fits = any(kinds[: len(own)] == head and len(own) == len(head) for head in heads)
        _require(fits, detector, f"table {where}: timer and INCIDENT, TIMERS or JUDGING")
        moves = table.key[-1] in PASSING
        _require(table.timer is None or not moves, detector, f"table {where}: no timer, rows move")


def params_are_explained(detector: Detector) -> None:
    """Every parameter has a unit, a range that holds its default, and a reason."""
    for parameter in fields(detector.params):
        meta = parameter.metadata
        name = parameter.name
        _require({"unit", "low", "high", "why"} <= meta.keys(), detector, f"{name}: use param()")
        fits = meta["low"] <= parameter.default <= meta["high"]
        _require(fits, detector, f"{name}: the default is out of its range")
        _require(bool(meta["why"]), detector, f"{name}: says no reason")


def source_keeps_the_rules(detector: Detector) -> None:
    """Kernels read fields through int(), float() or real(), and use no untested arithmetic."""
    path = inspect.getsourcefile(detector.module)
    assert path is not None
    for fault in source_faults(Path(path)):
        raise ContractError(fault)


def source_faults(path: Path) -> Iterator[str]:
    """Yield what compiled code would do otherwise than plain code, with file and line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and _is_kernel(node):
            yield from (f"{path.name}:{line}: {text}" for line, text in _kernel_faults(node))


def _is_kernel(node: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "kernel" for d in node.decorator_list)


def _kernel_faults(kernel: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    allowed: set[ast.AST] = set()
    body = [node for statement in kernel.body for node in ast.walk(statement)]
    for node in body:
        if isinstance(node, ast.Call):
            for argument in node.args:  # a call converts, or hands an array on
                part: ast.AST = argument
                while isinstance(part, ast.Subscript):
                    allowed.add(part)
                    part = part.value
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                allowed.update(ast.walk(target))
    for node in body:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            yield node.lineno, "powers differ when compiled: write products"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "np":
                yield node.lineno, f"np.{node.attr}: kernels use no numpy"
            if node.value.id == "math" and node.attr not in TESTED_MATH:
                yield node.lineno, f"math.{node.attr} is not among the tested functions"
        if _is_field(node) and node not in allowed and isinstance(node.ctx, ast.Load):  # type: ignore[attr-defined]
            yield node.lineno, "a field is read without int(), float() or real()"  # type: ignore[attr-defined]


def _is_field(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    )


def random_events(seed: int, n: int = EVENTS) -> NDArray[Any]:
    """Return events of one sender in order of time, of every kind, plausible and odd."""
    rng = np.random.Generator(np.random.PCG64(seed))
    events = np.zeros(n, EVENT)
    events["t"] = 1_772_323_200 * SECOND + np.cumsum(rng.integers(0, 20 * MINUTE, n))
    events["t"][n - n // 20 :] += DAY  # a silence
    events["now"] = events["t"]
    events["sender"] = 11
    events["event_type"] = rng.integers(1, 4, n)
    for name in ("source", "address", "receiver", "client"):
        events[name] = 1 + rng.integers(0, 5, n) ** 3
    events["client"][: n - n // 4] = 1 + rng.integers(0, 2, n - n // 4)  # then others come
    events["service"] = 1 + rng.integers(0, 2, n)
    events["unit"] = events["delivery"] = 1 + rng.integers(0, n, n)
    events["signed_at"] = events["t"] - rng.integers(0, DAY, n) * rng.integers(0, 2, n)
    for part, behind in ((slice(n // 4, n // 2), 0), (slice(n // 2, 3 * n // 4), 200 * SECOND)):
        events["signed_at"][part] = events["t"][part] - behind  # a clock that was right
    events["created_at"] = events["t"] - rng.integers(0, 3 * DAY, n) * rng.integers(0, 2, n)
    events["body_bytes"] = np.exp(rng.normal(7, 0.3, n) + 5.0 * (rng.random(n) < 0.01))
    events["gap"] = rng.integers(0, DAY, n)
    events["age"] = np.arange(n) * 10 * MINUTE
    events["events"] = np.arange(n)
    events["repeats"] = rng.integers(0, 3, n) // 2
    events["weight"] = 1.0
    events["duration_ms"] = 5.0
    events["status"] = rng.choice([0, 200, 204, 401, 500, 503], n)
    events["attempt"] = rng.integers(0, 3, n)
    events["tolerance"] = 300 * SECOND
    events["kind"] = rng.choice(list(KINDS.values()), n)
    events["verdict"] = rng.choice(list(VERDICTS.values()), n, p=[0.6, 0.3, 0.1])
    rejected = events["verdict"] == REJECTED
    events["reason"] = np.where(rejected, rng.choice(list(REASONS.values()), n), 0)
    broken = slice(n - n // 4, n - n // 5)  # a time of wrong signatures, from another network
    events["source"][broken] = 777
    events["verdict"][broken] = REJECTED
    events["reason"][broken] = REASONS[Reason.SIGNATURE_INVALID]
    events["signature_ok"] = np.where(events["verdict"] == VERIFIED, 1, rng.integers(-1, 2, n))
    events["duplicate"] = rng.integers(-1, 2, n)
    events["believed"] = rng.choice(list(BELIEVED.values()), n)
    events["freshness"] = rng.choice(list(FRESHNESS.values()), n)
    events["policy"] = rng.choice(list(POLICIES.values()), n)
    events["in_range"] = rng.integers(-1, 2, n)
    events["plan"] = rng.integers(0, 2 * max(PLANS.values()), n)
    events["overlap"] = DAY
    events["endpoint"] = 1 + rng.integers(0, 3, n)
    events["path"] = 1 + rng.integers(0, 2**62, n)
    newest = 1 + np.arange(n) * 6 // max(n, 1)
    events["key_id"] = np.maximum(newest - rng.integers(0, 8, n) // 7, 0)
    events["running"] = 5 * DAY + events["t"] - events["t"][0]
    events["registered"] = rng.integers(0, 16, n)
    events["registered"][: n // 4] = 0  # no inventory at first: what is first seen is new
    events["endpoint"] *= 2**31  # short tags are made of high bits, others of low ones
    for name in ("source", "receiver", "client"):
        events[name] *= 2**31 + 1
    return events


def default_params(detector: Detector) -> NDArray[Any]:
    """Return the detector's default parameters as the record that its step reads.

    They are read-only, as a core has them: what is compiled for these is what runs there.
    """
    record = np.zeros(1, params_dtype(detector))
    for f in fields(detector.params):
        record[f.name] = f.default
    record.flags.writeable = False
    return record


def default_model(detector: Detector) -> list[NDArray[Any]]:
    """Return the example of a learned model, none where the detector has none."""
    return [detector.module.example_model().reshape(1)] if detector.is_learned else []


def rows_of(detector: Detector, fill: str = "zero") -> list[NDArray[Any]]:
    """Return one row for each table: all zero, all least, all greatest, or NaN where that fits."""
    rows = []
    for table in detector.tables:
        row = np.zeros(1, table.row)
        for name in table.row.names or ():
            base = table.row[name].base
            if fill == "nan" and base.kind == "f":
                row[name] = np.nan
            elif fill in ("least", "greatest"):
                info: Any = np.finfo(base) if base.kind == "f" else np.iinfo(base)
                row[name] = info.min if fill == "least" else info.max
        if "who" in (table.row.names or ()):
            row["who"] = 0
        rows.append(row)
    return rows


def run(
    detector: Detector, events: NDArray[Any], rows: list[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Walk events over one row a table; return the records, and the part that stayed unused."""
    n = len(events)
    arguments: list[Any] = [np.zeros((0, 3), np.int64), *default_model(detector)]
    for row, table in zip(rows, detector.tables, strict=True):
        position, fresh = np.zeros(n, np.int64), np.zeros(n, np.int8)
        arguments += [position, fresh, row, np.zeros(1, table.row), np.zeros(1, np.uint8)]
    ticks = events["now"] - events["now"] % MINUTE
    records = np.zeros(4 * n + 1_000, record_dtype(detector))
    clock = np.zeros(3, np.int64)
    written, first = walk_for(detector)(
        events, 0, ticks, int(ticks[-1]), clock, default_params(detector), records, *arguments
    )
    if first >= 0:
        msg = f"{detector.id}: {n} events wrote more than {len(records)} records"
        raise ContractError(msg)
    return records[:written], records[written:]


def step_fills_out_or_leaves_it(detector: Detector) -> None:
    """``out`` is untouched where nothing is answered, and within its ranges where something is."""
    records, unused = run(detector, random_events(1), rows_of(detector))
    _require(not unused.tobytes().strip(b"\0"), detector, "out was filled with nothing to tell")
    for record in records:
        code = int(record["code"])
        if code in (CONTRIBUTES, FINDING):
            _check_out(detector, record)
        else:
            _require(code in CLOSE_REASONS, detector, f"unknown code {code}")


def _check_out(detector: Detector, out: Any) -> None:
    reason, severity = int(out["reason"]), int(out["severity"])
    _require(1 <= reason <= len(detector.reasons), detector, f"reason {reason} is out of range")
    _require(INFO <= severity <= CRITICAL, detector, f"severity {severity} is out of range")
    _require(0.0 <= float(out["score"]) <= 100.0, detector, "score is out of 0..100")
    _require(0.0 <= float(out["confidence"]) <= 1.0, detector, "confidence is out of 0..1")
    _require(int(out["count"]) >= 1, detector, "count is below 1")
    timed = detector.tables[int(out["table"])].timer is not None
    _require(timed, detector, "the incident's table has no timer")
    for name, _ in detector.evidence:
        _require(bool(np.isfinite(out[name])), detector, f"evidence {name} is no finite number")


def timers_move_on(detector: Detector) -> None:
    """A timer fires at most three times for the same time, then it waits for a later one."""
    params = default_params(detector)[0]
    rows = rows_of(detector)
    run(detector, random_events(2), rows)
    for row, table in zip(rows, detector.tables, strict=True):
        if table.timer is None:
            continue
        next_ = next_of if "due" in (table.row.names or ()) else end_of
        due, same = next_(row[0]), 0
        for _ in range(10):
            if due == 0:
                break
            learned = [model[0] for model in default_model(detector)]
            table.timer(row[0], due, params, *learned, np.zeros(1, detector.out)[0])
            later = next_(row[0])
            same = same + 1 if later == due else 0
            moves = (later == 0 or later >= due) and same < 3
            _require(moves, detector, f"the timer of {'+'.join(table.key)} does not move on")
            due = later


def extreme_rows_do_no_harm(detector: Detector) -> None:
    """Steps on rows that hold the least, the greatest or no number answer within their ranges."""
    for fill in ("least", "greatest", "nan"):
        for seed in range(5):
            records, _ = run(detector, random_events(seed, 20), rows_of(detector, fill))
            for record in records:
                score = float(record["score"])
                _require(0.0 <= score <= 100.0, detector, f"score {score} on {fill} rows")


def every_reason_is_explained(detector: Detector) -> None:
    """``explain`` has words for every reason, and numbers of what was expected and seen."""
    for reason in detector.reasons:
        words = detector.explain(
            Found(
                reason=reason, severity=INFO, count=1, sender="a-sender", source_count=1,
                seconds=1.0, evidence={name: 1.0 for name, _ in detector.evidence}, event=None,
                source="192.0.2.0/24",
            )
        )  # fmt: skip
        named = "192.0.2.0/24" if detector.is_shared else "a-sender"
        _require(
            named in words.summary,
            detector,
            f"{reason}: the summary names no {'source' if detector.is_shared else 'sender'}",
        )
        _require(bool(words.expected), detector, f"{reason}: says nothing of what was expected")
        _require(bool(words.observed), detector, f"{reason}: says nothing of what was seen")
        for number in (*words.expected.values(), *words.observed.values()):
            _require(isinstance(number, Quantity), detector, f"{reason}: a number has no unit")


def dump(detector: Detector, seed: int, n: int = EVENTS) -> str:
    """Return a hash of everything that steps and timers computed, rows included.

    Run it once compiled and once with NUMBA_DISABLE_JIT=1: the hashes must be equal.
    """
    digest = hashlib.sha256()
    for fill in ("zero", "nan", "least", "greatest"):
        rows = rows_of(detector, fill)
        records, unused = run(detector, random_events(seed, n if fill == "zero" else 50), rows)
        for part in (records, unused, *rows):
            digest.update(part.tobytes())
    return digest.hexdigest()


def _require(holds: bool, detector: Detector, fault: str) -> None:
    if not holds:
        msg = f"{detector.id}: {fault}"
        raise ContractError(msg)
