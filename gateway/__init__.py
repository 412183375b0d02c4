"""Everything that speaks HTTP: webhook ingress, event API, control API."""
