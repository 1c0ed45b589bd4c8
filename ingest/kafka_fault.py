"""What the failure of a Kafka client means: one line with where, what, and what to do.

A client that could reach no broker says no more than that its time was over. So the way to each
server is gone once more, step by step (`kafka_probe`), and from a broker that answers on to those
that it sends clients to. Nothing is asked of a network but after a failure.
"""

from collections.abc import Iterable, Mapping, Sequence
from threading import Thread
from time import monotonic
from typing import Any, Final

from .errors import IngestError, shown
from .kafka_address import Address, word
from .kafka_probe import Found, probe, resolve, silent

PERMISSIONS: Final = "docs/kafka.md#permissions"
SECONDS: Final = 5.0
"""For all probes of a round; the system itself may look much longer for a name."""
MOST: Final = 3
"""Servers whose reason is told."""
MOST_BROKERS: Final = 8
"""Advertised addresses that are tried."""

_LONGEST: Final = 400
_NOT_ALLOWED: Final = {
    "TopicAuthorizationFailedError": "topic",
    "GroupAuthorizationFailedError": "group",
    "ClusterAuthorizationFailedError": "cluster",
}


def fault_line(
    error: BaseException,
    servers: Sequence[str],
    options: Mapping[str, Any],
    group: str = "",
    otherwise: str = "try again; its log may say why",
) -> str:
    """One line about what a client raised.

    options: the client's; of their values only the user's name is repeated. group: the client's;
    the error may not name it. otherwise: what to do where connections work.
    """
    from kafka.errors import BrokerResponseError, KafkaConfigurationError, KafkaError

    where = f"kafka {','.join(servers)}"
    name = type(error).__name__
    if denied := _not_allowed(error, options, group):
        return f"{where}: {denied}"
    if isinstance(error, OSError) or getattr(error, "retriable", False) or "Sasl" in name:
        return _unreachable(servers, options) or (
            f"{where}: it did not do its part in time ({name}), though connections to it work now: "
            f"{otherwise}"
        )
    if isinstance(error, BrokerResponseError):
        return f"{where}: {refusal(error.errno, error.description)}"
    if isinstance(error, KafkaError) and not isinstance(error, KafkaConfigurationError):
        return f"{where}: {name}: {_plain(' '.join(map(str, error.args)))}".rstrip(": ")
    return f"{where}: {name}"  # its text may hold an option's value


def _not_allowed(error: BaseException, options: Mapping[str, Any], group: str = "") -> str | None:
    """What is not allowed, in words; None for another error."""
    kind = _NOT_ALLOWED.get(type(error).__name__)
    if kind is None:
        return None
    named = {"topic": _names(error.args), "group": word(group), "cluster": ""}[kind]
    return no_permission(f"{kind} {named}".rstrip(), options)


def no_permission(what: str, options: Mapping[str, Any]) -> str:
    """That the broker does not allow this client something."""
    user = options.get("sasl_plain_username")
    who = f"user {shown(user)}" if user else "this client"
    return f"{who} has no permission on {what}: {PERMISSIONS} lists what each role needs"


def refusal(code: int | None, text: str | None) -> str:
    """What a broker answered by a code and in its own words."""
    from kafka import errors

    codes: Any = errors
    kind = codes.for_code(code)
    words = _plain(text or kind.description or "")
    return f"the broker refuses, {kind.message or kind.__name__}: {words}".rstrip(": ")


def _plain(text: str) -> str:
    """A stranger's text as one line, cut at its end."""
    return " ".join(text.split()).encode("unicode_escape").decode("ascii")[:_LONGEST]


def _names(args: Iterable[object]) -> str:
    """The topics that an authorisation error names."""
    found: list[str] = []
    for one in args:
        many = one if isinstance(one, set | frozenset | list | tuple) else [one]
        found += [str(each) for each in many if isinstance(each, str)]
    return ", ".join(word(name) for name in sorted(found)[:MOST])


def _unreachable(servers: Sequence[str], options: Mapping[str, Any]) -> str | None:
    if options.get("proxy_url") or options.get("socks5_proxy"):
        return f"kafka {','.join(servers)}: no broker answers through the proxy"
    reasons = _reasons(servers, options)
    return f"kafka {'; '.join(reasons)}" if reasons else None


def _reasons(servers: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """`SERVER: why`, for servers that cannot be used; none where the whole way is free."""
    asked = [Address.of(server) for server in servers]
    reached, failed = _probed(asked[:MOST], options)
    if not reached:
        more = len(asked) - MOST
        return _told(failed) + ([f"and {more} more"] if more > 0 else [])
    sent_by = {broker: at for at, brokers in reached.items() for broker in brokers}
    if not sent_by:
        return [f"{next(iter(reached))}: answers, and knows no broker yet: try again"]
    others = [each for each in sent_by if each not in reached and each not in failed]
    _, away = _probed(others[:MOST_BROKERS], options)
    away |= {at: why for at, why in failed.items() if at in sent_by}
    return [
        f"{sent_by[broker]}: answers, and sends its clients to {broker} (advertised.listeners of "
        f"the broker); there: {why}"
        for broker, why in list(away.items())[:MOST]
    ]


def _told(failed: Mapping[Address, str]) -> list[str]:
    """What has the same reason in one part."""
    by_reason: dict[str, list[str]] = {}
    for at, why in failed.items():
        by_reason.setdefault(why, []).append(str(at))
    return [f"{', '.join(places)}: {why}" for why, places in by_reason.items()]


def _probed(
    addresses: Sequence[Address], options: Mapping[str, Any]
) -> tuple[dict[Address, list[Address]], dict[Address, str]]:
    """Where those that answer send their clients, and why the others do not; all at once."""
    reached: dict[Address, list[Address]] = {}
    failed: dict[Address, str] = {}
    named: dict[Address, Found] = {}

    def one(at: Address) -> None:
        try:
            named[at] = resolve(at)
            reached[at] = probe(at, named[at], options)
        except IngestError as error:
            failed[at] = str(error)
        except Exception as error:  # a fault of the probe must not hide that of the client
            failed[at] = f"no answer, and no reason found ({type(error).__name__})"

    threads = [Thread(target=one, args=(at,), daemon=True) for at in dict.fromkeys(addresses)]
    deadline = monotonic() + SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - monotonic(), 0.0))
    slow = f"the name is not resolved within {SECONDS:g} s: this machine's DNS does not answer"
    done = dict(reached)
    late = {at: silent(SECONDS) if at in named else slow for at in addresses if at not in done}
    return done, {at: failed.get(at, why) for at, why in late.items()}
