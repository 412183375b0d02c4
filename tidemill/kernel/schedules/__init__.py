"""Schedules without I/O: which moments they mean, what is due, and what is to be done about it."""
