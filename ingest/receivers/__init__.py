"""Receivers: from a request and a verdict to an event."""
