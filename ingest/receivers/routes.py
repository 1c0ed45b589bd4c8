"""Which requests are callbacks: templates of paths, matched segment by segment.

`/hooks/{sender}` matches one segment and names it, `/hooks/*` everything below. An event names
the template and never the path: a path may hold ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One template. subtree: it ends with `*`, so what matched is not known as an endpoint."""

    template: str
    pattern: re.Pattern[str]
    subtree: bool


def parse_routes(templates: Sequence[str]) -> tuple[Route, ...]:
    """Routes in the order given; ValueError when a template is none.

    >>> [route.subtree for route in parse_routes(["/hooks/{sender}", "/hooks/*"])]
    [False, True]
    """
    return tuple(_route(template) for template in templates)


def _route(template: str) -> Route:
    subtree = template.endswith("/*")
    bare = template[:-2] if subtree else template
    if not (template.startswith("/") and len(template) <= 256 and template.isprintable()):
        msg = f"endpoint: allowed is a path such as /hooks/{{sender}}; given {template[:60]!r}"
        raise ValueError(msg)
    pattern, at = "", 0
    for found in _PARAMETER.finditer(bare):
        pattern += re.escape(bare[at : found.start()]) + f"(?P<{found[1]}>[^/]+)"
        at = found.end()
    pattern += re.escape(bare[at:])
    if "*" in bare:
        msg = f"endpoint: * is allowed as the last segment only; given {template[:60]!r}"
        raise ValueError(msg)
    try:
        compiled = re.compile(pattern + ("(?:/.*)?" if subtree else ""), re.DOTALL)
    except re.error:  # a name twice
        msg = f"endpoint: a name is allowed once; given {template[:60]!r}"
        raise ValueError(msg) from None
    return Route(template, compiled, subtree)
