"""Drivers: where frames come from."""
