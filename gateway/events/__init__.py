"""The event API for internal services: `POST /events` takes CloudEvents in all three modes of HTTP."""
