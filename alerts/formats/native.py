"""The alert as it is: the value of `callwatch.alerts`, documented in docs/alerts.md."""

from alerts.alert import Alert


def encode(alert: Alert) -> bytes:
    """The alert's own JSON."""
    return alert.to_json()
