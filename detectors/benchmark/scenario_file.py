"""Scenario files: TOML in, a scenario out, or all faults at once, each with file and line."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.fields import allowed_of
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.scenario import Allow, Expect, Head, Plan, Quiet, Scenario, Variant
from detectors.benchmark.senders import Sender
from detectors.benchmark.steps import STEPS, Befall, Calls, Join, Resend, Step, keys_of
from ingest.errors import IngestError, shown
from ingest.toml_text import Place, TomlText, load_toml

T = TypeVar("T")
NOT_SCENARIOS: Final = ("budgets.toml",)
_TABLES: Final = ("fleet", "step", "expect", "allow", "quiet", "planned")


def find_scenarios(paths: Iterable[Path]) -> list[Path]:
    """The scenario files among files and folders, in order of their names."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        inside = [one for one in inside if one.name not in NOT_SCENARIOS]
        if not inside:
            msg = f"{path}: holds no scenario (*.toml)"
            raise BenchmarkError(msg)
        found += inside
    return found


def load_scenarios(paths: Iterable[Path]) -> list[Scenario]:
    """All scenarios of files and folders; BenchmarkError lists the faults of all of them."""
    scenarios, faults = [], []
    for path in find_scenarios(paths):
        try:
            scenarios.append(load_scenario(path))
        except BenchmarkError as error:
            faults.append(str(error))
    names = [one.name for one in scenarios]
    faults += [
        f"{name}: two scenarios have this name" for name in set(names) if names.count(name) > 1
    ]
    if faults:
        raise BenchmarkError("\n".join(faults))
    return scenarios


def load_scenario(path: Path) -> Scenario:
    """The scenario of a file; BenchmarkError lists all its faults."""
    try:
        text = load_toml(path)
    except IngestError as error:
        raise BenchmarkError(str(error)) from None
    reader = _Reader(text)
    scenario = reader.scenario()
    if reader.faults or scenario is None:
        raise BenchmarkError("\n".join(text for _, text in sorted(reader.faults)))
    return scenario


class _Reader:
    def __init__(self, text: TomlText) -> None:
        self.text = text
        self.faults: list[tuple[int, str]] = []

    def fault(self, place: Place, message: str) -> None:
        where = self.text.where(*place)
        self.faults.append((int(where.rpartition(":")[2]), f"{where}: {message}"))

    def scenario(self) -> Scenario | None:
        data = self.text.data
        top = {key: value for key, value in data.items() if key not in _TABLES}
        head = self.read((), _dated(top), Head, also=_TABLES)
        fleet = self.fleet(data.get("fleet", {}))
        names = {sender.name for sender in fleet}
        steps = [self.step(n, row, names) for n, row in self.rows("step")]
        known = {one.name for one in steps if one is not None}
        expect = self.all_of("expect", Expect)
        for n, one in enumerate(expect):
            if one is not None and one.step and one.step not in known:
                self.wrong(("expect", n, "step"), "step", f"of {_list(known)}", one.step)
        allow, quiet = self.all_of("allow", Allow), self.all_of("quiet", Quiet)
        for table, made in (("allow", allow), ("quiet", quiet)):
            for n, rule in enumerate(made):
                self.known((table, n, "senders"), rule.senders if rule else (), names | {"any"})
        planned = self.all_of("planned", Plan)
        for n, plan in enumerate(planned):
            self.known(("planned", n, "sender"), (plan.sender,) if plan else (), names)
        if not steps:
            self.fault((), "step is missing: a scenario has at least one [[step]]")
        if head is not None and head.kind != "trap" and not expect:
            self.fault(("kind",), "expect is missing: only a trap expects nothing")
        if self.faults or head is None:
            return None
        joining = {
            name for one in steps if isinstance(one, Join) for name in one.senders
        }  # they come last: places in the fleet are those of its history
        fleet = tuple(sorted(fleet, key=lambda sender: sender.name in joining))
        return Scenario(
            self.text.path.stem, head, fleet, _whole(steps), _whole(expect), _whole(allow),
            _whole(quiet), _whole(planned),
        )  # fmt: skip

    def fleet(self, table: Any) -> tuple[Sender, ...]:
        """The company's senders, or some of them, and variants."""
        if not isinstance(table, dict):
            self.fault(("fleet",), f"fleet must be a table (got {shown(table)})")
            return FLEET
        for key in table.keys() - {"only", "sender"}:
            self.unknown(("fleet", key), key, ("only", "sender"))
        models = {sender.name: sender for sender in FLEET}
        fleet = list(FLEET)
        if "only" in table:
            only = table["only"]
            if not isinstance(only, list) or not set(map(str, only)) <= models.keys():
                self.wrong(("fleet", "only"), "only", f"a list out of {_list(models)}", only)
            else:
                fleet = [models[name] for name in only]
        for n, row in self.rows("sender", table, ("fleet",)):
            made = self.read(("fleet", "sender", n), row, Variant)
            if made is None:
                continue
            if made.like not in models:
                place = ("fleet", "sender", n, "like")
                self.wrong(place, "like", f"of {_list(models)}", made.like)
            elif made.name in {sender.name for sender in fleet}:
                place = ("fleet", "sender", n, "name")
                self.wrong(place, "name", "a name that the fleet has not yet", made.name)
            else:
                fleet.append(made.sender(models[made.like]))
        return tuple(fleet)

    def step(self, n: int, row: dict[str, Any], names: set[str]) -> Step | None:
        place = ("step", n)
        do = row.get("do")
        if not isinstance(do, str) or do not in STEPS:
            self.wrong((*place, "do"), "do", f"of {_list(STEPS)}", do)
            return None
        given = {key: value for key, value in row.items() if key != "do"}
        made = self.read(place, {"name": do, **given}, STEPS[do], also=("do",))
        if isinstance(made, Calls | Resend):
            self.known((*place, "sender"), made.sender, names)
        if isinstance(made, Befall):
            self.known((*place, "senders"), made.senders, names | {"all", "webhooks"})
        return made

    def known(self, place: Place, given: tuple[str, ...], names: set[str]) -> None:
        for name in given:
            if name not in names:
                self.wrong(place, str(place[-1]), f"of {_list(names)}", name)

    def rows(
        self, kind: str, table: Mapping[str, Any] | None = None, place: Place = ()
    ) -> list[tuple[int, dict[str, Any]]]:
        rows = (self.text.data if table is None else table).get(kind, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            dotted = ".".join([*map(str, place), kind])
            self.fault((*place, kind), f"{kind} must be tables, each under [[{dotted}]]")
            return []
        return list(enumerate(rows))

    def all_of(self, name: str, kind: type[T]) -> list[T | None]:
        return [self.read((name, n), row, kind) for n, row in self.rows(name)]

    def read(
        self, place: Place, row: Mapping[str, Any], kind: type[T], also: tuple[str, ...] = ()
    ) -> T | None:
        """One table as its dataclass; None with faults."""
        before = len(self.faults)
        keys = keys_of(kind)
        for key in row.keys() - keys.keys():
            self.unknown((*place, key), key, (*also, *keys))
        values = {}
        for key, one in keys.items():
            if key not in row:
                if one.default is MISSING:
                    self.fault(place, f"{key} is missing: {one.metadata['what']}")
                continue
            try:
                values[key] = one.metadata["read"](row[key])
            except (ValueError, TypeError, AttributeError):
                self.wrong((*place, key), key, allowed_of(one.metadata), row[key])
        return kind(**values) if len(self.faults) == before else None

    def unknown(self, place: Place, key: str, known: tuple[str, ...]) -> None:
        self.fault(place, f"{shown(key)} is no known key; allowed are {', '.join(known)}")

    def wrong(self, place: Place, key: str, allowed: str, given: object) -> None:
        self.fault(place, f"{key}: allowed: {allowed}; given {shown(given)}")


def _dated(top: dict[str, Any]) -> dict[str, Any]:
    start = top.get("start")  # TOML has dates of its own
    return {**top, "start": start.isoformat()[:10]} if isinstance(start, date) else top


def _whole(items: list[T | None]) -> tuple[T, ...]:
    return tuple(item for item in items if item is not None)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
