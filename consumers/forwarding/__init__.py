"""Forwarding: events are posted to configured addresses, by tasks that need no code of users."""
