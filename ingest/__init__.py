"""What a callback event is, and how it gets onto the stream."""
