"""Work on JSON Schemas of events: checking, comparing, inferring, models, and drift."""
