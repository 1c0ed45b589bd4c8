# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A mapping proposed from a log: what looks like callbacks, with the figures that say so.

It is a draft for a person to read: who calls is guessed by user agents and words in paths, and
whether an endpoint verifies by its having refused somebody with 401 or 403. What looks like an id
or a secret in a path becomes `{id}`, and is written nowhere.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from ..profiles import load_profiles
from ..vocabulary import clean_text
from .call import Call, LineError, known_ip
from .run import Parsed

MOST_SHAPES: Final = 20_000
MOST_ROUTES: Final = 40
SIBLINGS: Final = 6
"""So many paths that differ in their last part are one endpoint with a sender in the path."""

AGENTS: Final = (  # from requests that providers sent, as their docs and public fixtures show them
    ("GitHub-Hookshot/", "github"),
    ("Stripe/", "stripe"),
    ("Shopify-Captain-Hook", "shopify"),
    ("PayPal/", "paypal"),
    ("Slackbot", "slack"),
    ("TwilioProxy/", "twilio"),
    ("Svix-Webhooks/", "svix"),
    ("Adyen ", "adyen"),
    ("SendGrid", "sendgrid"),
    ("Zoom Marketplace", "zoom"),
    ("Square", "square"),
    ("mailgun", "mailgun"),
    ("GitLab/", "gitlab"),
    ("Bitbucket-Webhooks/", "bitbucket"),
    ("HubSpot", "hubspot"),
    ("Pipedrive", "pipedrive"),
    ("Paddle", "paddle"),
    ("WooCommerce", "woocommerce"),
)
_HOOK: Final = re.compile(r"hook|callback|notif|ipn\b|webhook|/events?\b|postback", re.IGNORECASE)
_REDIRECT: Final = re.compile(
    r"callback|oauth|/return\b|/sso\b|/auth/|login/complete|/complete\b", re.IGNORECASE
)
_VARIABLE: Final = re.compile(
    r"[0-9]+|[0-9a-fA-F-]{16,}|[A-Za-z]{24,}|(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_~.+=-]{12,}|[^/]{40,}"
)
_LITERAL: Final = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
_INSIDE: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
        "::1/128", "fc00::/7",
    )
)  # fmt: skip
_PROVIDERS: Final = {name for _, name in AGENTS}


@dataclass
class Shape:
    """What the calls of one path have in common."""

    calls: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)

    def add(self, call: Call) -> None:
        """Count one call."""
        self.calls += 1
        self.statuses[call.status] += 1
        for counts, value in (
            (self.methods, call.method or "-"),
            (self.agents, _family(call.user_agent)),
        ):
            if value in counts or len(counts) < 64:
                counts[value] += 1

    def merge(self, other: "Shape") -> None:
        """Take the calls of another path."""
        self.calls += other.calls
        self.methods += other.methods
        self.statuses += other.statuses
        self.agents += other.agents


@dataclass
class Seen:
    """What was seen of a log."""

    calls: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    shapes: dict[str, Shape] = field(default_factory=dict)
    dropped: int = 0
    sized: bool = False
    measured: bool = False
    inside: int = 0
    rest: tuple[str, ...] = ()


def look(lines: Iterable[Parsed]) -> Seen:
    """Count what the lines say; paths are reduced to their shape at once."""
    seen = Seen()
    for one in lines:
        if isinstance(one.found, LineError):
            seen.broken[one.found.code] += 1
        if not isinstance(one.found, Call):
            continue
        call = one.found
        seen.calls += 1
        seen.sized = seen.sized or call.request_bytes is not None
        seen.measured = seen.measured or call.body_bytes is not None
        seen.inside += _is_inside(call.source_ip or "")
        seen.rest = seen.rest or call.rest
        shape = shape_of(call.path or "")
        if shape not in seen.shapes and len(seen.shapes) >= MOST_SHAPES:
            _forget_rare(seen)
        seen.shapes.setdefault(shape, Shape()).add(call)
    return seen


def shape_of(path: str) -> str:
    """A path with what looks like ids, numbers and secrets taken out.

    >>> shape_of("/hooks/stripe"), shape_of("/u/4711/x"), shape_of("/hooks/s3crettoken9")
    ('/hooks/stripe', '/u/{id}/x', '/hooks/{id}')
    """
    parts = [
        part if not part or (_LITERAL.fullmatch(part) and not _VARIABLE.fullmatch(part)) else "{id}"
        for part in path.split("/")[:12]
    ]
    return "/".join(parts)


def propose(seen: Seen, format_name: str, place: str) -> str:
    """The text of a mapping file, for `callwatch import --mapping` after a look at it."""
    lines = [
        f"# A draft, guessed from {_plain(place)}: {seen.calls:,} requests"
        + (f", {sum(seen.broken.values()):,} broken lines." if seen.broken else "."),
        "# Read it, correct it, then:",
        f"# callwatch import {format_name} FILES... --mapping mapping.toml --out events.jsonl",
        "",
        f'receiver = "import/{format_name}"  # who received: service/version@instance',
    ]
    if seen.sized and not seen.measured:
        lines += [
            'size = "request"  # the log has the size of whole requests, headers included',
        ]
    if seen.rest:
        names = json.dumps([_named(value) for value in seen.rest])
        lines.append(f"# extra = {names}  # what follows the user agent; check the names")
    if 2 * seen.inside > seen.calls:
        lines += [
            "# Most addresses are private: those of a proxy? Then callers cannot be told apart,",
            "# until `extra` names forwarded_for, and the proxies are named:",
            '# trusted_proxies = ["10.0.0.0/8"]',
        ]
    chosen = routes(seen)
    if format_name == "github":
        chosen = [("", shape) for _, shape in _whole(seen)]
    for path, shape in chosen:
        lines += ["", *_route(path, shape, format_name)]
    if not chosen:
        lines += ["", "# Nothing here looks like a callback. The most frequent paths:"]
        top = sorted(seen.shapes.items(), key=lambda item: (-item[1].calls, item[0]))[:20]
        lines += [f"#   {path}  {_figures(shape)}" for path, shape in top]
    return "\n".join(lines) + "\n"


def routes(seen: Seen) -> list[tuple[str, Shape]]:
    """The paths that look like callbacks, most calls first; many siblings become one template."""
    wanted = {path: shape for path, shape in seen.shapes.items() if _is_callback(path, shape)}
    families: dict[str, list[str]] = {}
    for path in wanted:
        families.setdefault(path.rpartition("/")[0], []).append(path)
    for parent, paths in families.items():
        last = {path.rpartition("/")[2] for path in paths}
        if parent and len(paths) >= SIBLINGS and not last & _PROVIDERS:
            merged = Shape()
            for path in paths:
                merged.merge(wanted.pop(path))
            wanted[f"{parent}/{{sender}}"] = merged
    found = sorted(wanted.items(), key=lambda item: (-item[1].calls, item[0]))
    return found[:MOST_ROUTES]


def provider_of(path: str, shape: Shape) -> str | None:
    """The provider that most calls name, or the path."""
    named: Counter[str] = Counter()
    for agent, count in shape.agents.items():
        for start, name in AGENTS:
            if agent.lower().startswith(start.lower()):
                named[name] += count
    if named and 2 * named.most_common(1)[0][1] > shape.calls:
        return named.most_common(1)[0][0]
    words = set(re.split(r"[^a-z]+", path.lower()))
    return next((name for name in sorted(_PROVIDERS) if name in words), None)


def _is_callback(path: str, shape: Shape) -> bool:
    if not path.startswith("/") or shape.calls < 2:
        return False
    answered = sum(count for status, count in shape.statuses.items() if status not in (404, 405))
    if 2 * answered < shape.calls:  # a scanner's wishes
        return False
    sent = sum(shape.methods[method] for method in ("POST", "PUT"))
    if 2 * sent >= shape.calls:
        return bool(_HOOK.search(path)) or provider_of(path, shape) is not None
    return _is_redirect(path, shape)


def _is_redirect(path: str, shape: Shape) -> bool:
    return 2 * shape.methods["GET"] > shape.calls and bool(_REDIRECT.search(path))


def _route(path: str, shape: Shape, format_name: str) -> list[str]:
    provider = provider_of(path, shape) or ("github" if format_name == "github" else None)
    refuses = any(shape.statuses[status] for status in (401, 403))
    redirect = _is_redirect(path, shape)
    template = _unique_placeholders(path)
    lines = [f"# {_figures(shape)}", "[[route]]"]
    if template:
        lines.append(f"path = {_quoted(template)}")
    else:
        lines.append('endpoint = "/hooks/github"')
    if redirect:
        lines.append('kind = "redirect"')
    if "{sender}" not in template:
        name = provider or next(
            (part for part in reversed(path.split("/")) if part and part != "{id}"), "webhooks"
        )
        lines.append(f"sender = {_quoted(name)}  # the account or tenant that calls here")
    if provider in load_profiles():
        lines.append(f"provider = {_quoted(provider)}")
    if template and not redirect:
        sent = [method for method in ("POST", "PUT") if shape.methods[method]]
        lines.append(f"methods = {json.dumps(sent)}")
    if refuses or redirect:
        lines.append('accepted = "verified"  # it refuses: so what it accepts was verified')
    else:
        lines.append('accepted = "unverified"  # nobody was refused; "verified" if it verifies')
    if shape.statuses[400] and not refuses and not redirect:
        lines.append(
            '# status = { 400 = "signature_invalid" }  # if 400 is its answer to a wrong signature'
        )
    return lines


def _unique_placeholders(path: str) -> str:
    count = 0
    parts = path.split("/")
    for at, part in enumerate(parts):
        if part == "{id}":
            count += 1
            parts[at] = "{id}" if count == 1 else f"{{id{count}}}"
    return "/".join(parts)


def _figures(shape: Shape) -> str:
    methods = ", ".join(_plain(name) for name, _ in shape.methods.most_common(3))
    shares = ", ".join(
        f"{status} {100 * count / shape.calls:.3g} %"
        for status, count in shape.statuses.most_common(5)
    )
    agents = "; ".join(_plain(name) for name, _ in shape.agents.most_common(3) if name)
    return f"{shape.calls:,} calls; {methods}; {shares}" + (f"; {agents}" if agents else "")


def _named(value: str) -> str:
    """What a field at the end of a line may be, by how it looks."""
    if all(known_ip(part.strip()) for part in value.split(",")):
        return "forwarded_for"
    return "request_time" if re.fullmatch(r"[0-9]{1,6}\.[0-9]{3}", value) else "-"


@lru_cache(maxsize=65_536)
def _is_inside(text: str) -> bool:
    at = ip_address(text) if text else None
    return any(at in network for network in _INSIDE if at and at.version == network.version)


def _family(agent: str | None) -> str:
    """A user agent up to its first version: enough to tell who calls."""
    return _plain((agent or "")[:60]).split(" (")[0][:40]


def _plain(text: str) -> str:
    return (clean_text(text, 80) or "").encode("ascii", "replace").decode()


def _quoted(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def _whole(seen: Seen) -> list[tuple[str, Shape]]:
    merged = Shape()
    for shape in seen.shapes.values():
        merged.merge(shape)
    return [("", merged)] if merged.calls else []


def _forget_rare(seen: Seen) -> None:
    """Make room: the half with the fewest calls is none of those that matter."""
    by_calls = sorted(seen.shapes, key=lambda path: seen.shapes[path].calls)
    for path in by_calls[: MOST_SHAPES // 2]:
        seen.dropped += seen.shapes.pop(path).calls
