"""Everything that alerts/ raises on purpose is an `AlertsError`, one line each."""


class AlertsError(Exception):
    """An alert, its mapping, its format or its way out is wrong; the text is one line."""


class AlertError(AlertsError):
    """A value is no valid alert: which field, what is allowed, what was given."""


class ThreatMapError(AlertsError):
    """The threat map names something that it does not define."""


class DeliveryError(AlertsError):
    """A sink did not take an alert within the allowed attempts; nothing after it was sent."""


class RouteError(AlertsError):
    """Alerts cannot be consumed or delivered: broker, topic, permission or sink."""
