"""Keys that others publish: fetched from pinned places, kept for a while, bounded in every way."""
