"""Shared by every room of the house, not part of the public API: names, envelopes, protocol, broker."""
