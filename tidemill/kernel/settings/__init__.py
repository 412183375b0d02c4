"""Settings: sections and values, merging of their sources, secrets and keys, and what reloads."""
