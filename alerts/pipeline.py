"""What happens to alerts between the detectors and the sinks: pure functions of the alerts."""

from collections.abc import Iterable

from alerts.alert import Alert, Severity


def fold(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """The latest state of each incident, by id, in order of first appearance.

    A worker that starts again repeats states that it has sent before. So the latest state is the
    furthest in the incident's life, not the last in the list, and repeats change nothing.
    """
    latest: dict[str, Alert] = {}
    for alert in alerts:
        known = latest.get(alert.id)
        if known is None or _progress(alert) >= _progress(known):
            latest[alert.id] = alert
    return latest


def at_least(alerts: Iterable[Alert], lowest: Severity) -> list[Alert]:
    """The alerts of a severity or above; severities rise, so a later update may pass."""
    return [alert for alert in alerts if alert.severity >= lowest]


def without_shadow(alerts: Iterable[Alert]) -> list[Alert]:
    """The alerts that are not of detectors on trial."""
    return [alert for alert in alerts if not alert.shadow]


def _progress(alert: Alert) -> tuple[int, int, int]:
    return alert.status.rank, alert.updated_at, alert.count
