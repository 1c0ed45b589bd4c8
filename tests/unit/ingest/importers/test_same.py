"""The same calls, logged by different servers, become the same events."""

import json
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ingest.importers.mapping import load_mapping
from ingest.importers.run import import_logs
from ingest.importers.spill import Spill
from tests.unit.ingest.importers.access_log import month
from tests.unit.ingest.importers.golden import alb

MAPPING = """
[[route]]
path = "/hooks/{sender}"
accepted = "verified"
"""
ALIKE = ("received_at", "endpoint", "sender", "verdict", "reason", "method", "status", "source_ip",
         "user_agent", "body_bytes")  # fmt: skip


def calls() -> list[tuple[datetime, str, str, str, int, str]]:
    """Address, method, path, status and user agent of each line of the log."""
    found = []
    for at, text in list(month(attack=True))[:1500]:
        before, request, after, _, _, agent, _ = text.split('"')
        method, path, _ = request.split(" ")
        ip, status = before.split(" ")[0], int(after.split()[0])
        found.append((at.replace(microsecond=0), ip, method, path, status, agent))
    return found


def row(format_name: str, call: tuple[datetime, str, str, str, int, str]) -> str:
    """A call as a server logs it."""
    at, ip, method, path, status, agent = call
    assert ip_address(ip)
    if format_name == "apache":
        return (f'hooks.example.com:443 {ip} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] '
                f'"{method} {path} HTTP/1.1" {status} - "-" "{agent}"')  # fmt: skip
    if format_name == "alb":
        asked = f"{method} https://hooks.example.com:443{path} HTTP/1.1"
        line = alb(client=f"{ip}:4711", status=str(status), request=asked,
                   created=f"{at:%Y-%m-%dT%H:%M:%S}.000000Z")  # fmt: skip
        return line.replace("curl/7.46.0", agent)
    made: dict[str, Any] = {
        "nginx-json": {"msec": f"{at.timestamp():.3f}", "remote_addr": ip, "status": status,
                       "request_method": method, "request_uri": path, "http_user_agent": agent},
        "cloudflare": {"EdgeStartTimestamp": at.isoformat(), "ClientIP": ip,
                       "EdgeResponseStatus": status, "ClientRequestMethod": method,
                       "ClientRequestURI": path, "ClientRequestUserAgent": agent},
    }[format_name]  # fmt: skip
    return json.dumps(made)


def imported(tmp_path: Path, format_name: str, lines: list[str]) -> list[dict[str, Any]]:
    """The events of a log, without what the formats know beside each other."""
    log, mapping, spill = tmp_path / format_name, tmp_path / "mapping.toml", Spill()
    log.write_text("".join(f"{line}\n" for line in lines))
    mapping.write_text(MAPPING)
    summary = import_logs(format_name, [str(log)], load_mapping(mapping, format_name), spill)
    assert not summary.broken
    events = [json.loads(value) for _, value in spill.sorted(summary.take_back)]
    return [{name: event.get(name) for name in ALIKE} for event in events]


@pytest.mark.parametrize("format_name", ["apache", "nginx-json", "alb", "cloudflare"])
def test_formats_agree(tmp_path: Path, format_name: str) -> None:
    """Time, endpoint, sender, verdict, source and client are those that nginx's log gives."""
    plain = [text for _, text in list(month(attack=True))[:1500]]
    expected = imported(tmp_path, "nginx", plain)
    assert len(expected) > 1000
    assert imported(tmp_path, format_name, [row(format_name, one) for one in calls()]) == expected
