"""Sovereign: a runtime for trading nodes."""

__version__ = "0.1.0"
