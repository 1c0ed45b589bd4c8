"""The sentences of pipeline-health: what is not seen, and since when."""

from __future__ import annotations

from alerts.explain import format_count, format_share, safe
from detectors.base import Found

WHY_REBUILT = {
    "no_checkpoint": "its checkpoint is gone",
    "damaged": "its checkpoint was damaged",
    "beyond_the_log": "its checkpoint was made from another log",
    "not_fitting": "its checkpoint is of other parameters or another version",
    "repartitioned": "the events were repartitioned",
    "cold_start": "there was no state yet, and the log does not reach back to its beginning",
}


def summary_of(found: Found) -> str:
    """Return the one sentence of an incident."""
    subject, n = safe(found.key[1]), found.evidence
    return {
        "receiver_silent": lambda: _silent(subject, found),
        "events_lost": lambda: (
            f"receiver {subject} lost {format_count(int(n['lost']), 'event')} of "
            f"{int(n['offered']):,} in 15 min before they reached the stream"
        ),
        "late_data": lambda: (
            f"{subject}: of {format_count(int(n['records']), 'record')} in 15 min "
            f"{int(n['late']):,} came more than 5 min late and {int(n['refused']):,} were refused "
            "for their time"
        ),
        "invalid_data": lambda: (
            f"{subject}: {int(n['invalid']):,} of {format_count(int(n['records']), 'record')} in "
            "15 min are no valid events, and were not looked at"
        ),
        "batch_damaged": lambda: (
            f"{subject}: {format_count(int(n['damaged']), 'record')} in 15 min stood in batches "
            "that cannot be read, and were not looked at"
        ),
        "cardinality": lambda: _cardinality(subject, found),
        "misplaced": lambda: (
            f"{subject}: {int(n['misplaced']):,} of "
            f"{format_count(int(n['checked']), 'new sender')} "
            "belong to another partition by their key; a publisher uses another partitioner"
        ),
        "control_invalid": lambda: (
            f"{subject}: {format_count(int(n['controls']), 'control record')} in 15 min whose "
            "signature does not fit the control key; none took effect"
        ),
        "control_key_missing": lambda: (
            f"{subject}: {format_count(int(n['controls']), 'control record')} in 15 min, and no "
            "control key to hold signatures against; none took effect"
        ),
        "state_rebuilt": lambda: _rebuilt(subject, found.key[2]),
        "facts_stale": lambda: (
            f"provider {subject}: {format_count(int(n['stale_facts']), 'fact')} that detection "
            f"relies on read up to {int(n['oldest_days']):,} days ago; callwatch doctor names them"
        ),
    }[found.reason]()


def _rebuilt(subject: str, why: str) -> str:
    if why == "records_gone":
        return (
            f"{subject}: records were deleted from the log before they were read, and were not seen"
        )
    because = WHY_REBUILT.get(why, safe(why))
    return (
        f"{subject}: the state was made anew, because {because}; what the log no longer holds is "
        "not known"
    )


def _silent(service: str, found: Found) -> str:
    gone = int(found.evidence["instances_silent"])
    reporting = int(found.evidence["instances_reporting"])
    if not reporting:
        said = f"receiver {service} has stopped reporting"
        return f"{said} ({format_count(gone, 'instance')}): its senders are not seen"
    verb = "has" if gone == 1 else "have"
    return (
        f"{format_count(gone, 'instance')} of receiver {service} {verb} stopped reporting; "
        f"{reporting:,} still {'reports' if reporting == 1 else 'report'}"
    )


def _cardinality(subject: str, found: Found) -> str:
    n = found.evidence
    usual = int(n["new_senders_usual"])
    said = (
        f"{subject}: {int(n['new_senders']):,} new senders in an hour, usual are up to {usual:,}; "
        f"{format_share(n['rejected_share'])} of their first calls were rejected"
    )
    if n["evicted"]:
        said += f"; {format_count(int(n['evicted']), 'sender')} forgotten for want of room"
    return said
