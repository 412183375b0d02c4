"""The role that writes the history: from the streams on the broker into SQL."""
