"""The control listener: its API, who may use it, and its description."""
