"""What a callback event is, and how it gets onto the stream.

A receiver needs three names from here: `CallbackEvent`, `Publisher` and a transport. Importing
this package imports neither Kafka nor a web framework.
"""

from .errors import EventError, IngestError, InventoryError, ProfileError, SourceError
from .publisher import Publisher
from .schema import CallbackEvent, Kind, Reason, SourceIpFrom, Verdict, dump_event, parse_event
from .transports import JsonLinesTransport, KafkaTransport, MemoryTransport

__all__ = [
    "CallbackEvent",
    "EventError",
    "IngestError",
    "InventoryError",
    "JsonLinesTransport",
    "KafkaTransport",
    "Kind",
    "MemoryTransport",
    "ProfileError",
    "Publisher",
    "Reason",
    "SourceError",
    "SourceIpFrom",
    "Verdict",
    "dump_event",
    "parse_event",
]
