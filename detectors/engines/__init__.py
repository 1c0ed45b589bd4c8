"""Engines: local for files and frames, Faust for Kafka."""
