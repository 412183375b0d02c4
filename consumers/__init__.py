"""Everything that runs code: router, worker, engine roles."""
