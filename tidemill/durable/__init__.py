"""What makes a handler durable: its calls are remembered, replayed and waited for. No I/O of its own."""
