"""Everything that speaks to the broker: the only place that imports nats."""
