"""Tidemill: signed webhooks in, durable Python tasks out."""
