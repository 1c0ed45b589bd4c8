"""Write the generated parts of the documents again: `make docs`, or `python -m tests.docs`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else is by hand.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from alerts import reference
from ingest import event_docs
from tests.docs import asyncapi
from tests.docs.parts import PARTS

ROOT = Path(__file__).parents[2]
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The documents whose parts are generated here."""
    found = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
    other = {"event.md", "alerts.md"}  # theirs are written by the packages that they describe
    return [page for page in found if page.name not in other]


def rendered(text: str) -> str:
    """The document with its parts written again; ValueError names a part that nobody writes."""

    def written(match: re.Match[str]) -> str:
        if match[2] not in PARTS:
            msg = f"no part is called {match[2]!r}; there are {', '.join(PARTS)}"
            raise ValueError(msg)
        return f"{match[1]}{PARTS[match[2]]()}\n{match[3]}"

    return _PART.sub(written, text)


def stale() -> Iterator[tuple[Path, str]]:
    """The documents that do not say what the code does, each with what it should be."""
    for page in pages():
        text = page.read_text("utf-8")
        if (wanted := rendered(text)) != text:
            yield page, wanted


def main() -> None:
    """Write every document that changed, and say which."""
    event_docs.write(ROOT / "docs")
    (ROOT / "docs" / "asyncapi.yaml").write_text(asyncapi.text(), "utf-8")
    alerts = ROOT / "docs" / "alerts.md"
    alerts.write_text(reference.render(alerts.read_text("utf-8")), "utf-8")
    for page, wanted in stale():
        page.write_text(wanted, "utf-8")
        print(f"written: {page.relative_to(ROOT)}")  # noqa: T201 - a command of its own


if __name__ == "__main__":
    main()
