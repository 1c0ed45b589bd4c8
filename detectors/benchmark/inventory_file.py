"""The fleet as an inventory file: what an operator would have registered about its senders."""

import json
from collections.abc import Iterable

from detectors.benchmark.senders import Sender


def inventory_toml(fleet: Iterable[Sender]) -> str:
    """`inventory.toml` of the webhook senders: provider, endpoint, ranges, client certificates.

    Ranges are registered only where the sender promises fixed ones; published lists come with the
    provider's profile.
    """
    parts = [
        "# The simulated fleet. Registered ranges and keys are facts that detectors may use.\n"
    ]
    for sender in fleet:
        if sender.kind != "webhook":
            continue
        lines = [f"[senders.{_text(sender.name)}]"]
        if sender.provider:
            lines.append(f"provider = {_text(sender.provider)}")
        lines += [f"owner = {_text(sender.service)}", f"endpoints = [{_text(sender.endpoint)}]"]
        if sender.ranges:
            lines.append(f"ranges = [{', '.join(map(_text, sender.ranges))}]")
        if sender.mtls:
            lines.append("mtls = true")
        if sender.key_id:
            lines.append(f"keys = [{_text(sender.key_id)}]")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _text(value: str) -> str:
    return json.dumps(value)  # a JSON string of printable characters is a TOML string
