"""Sinks of the event stream, and logging."""
