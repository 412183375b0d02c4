"""What can be asked of an open broker, shared by gateway, consumers and command line."""
