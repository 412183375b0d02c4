"""The spool: deliveries on the local disk while the broker is away."""
