"""Python's cycle collector, set for processes that serve."""

from __future__ import annotations

import gc


def spare_collector() -> None:
    """Let the cycle collector look less often, and never at what stands when a process is ready.

    Requests and runs leave no cycles behind, what they allocate is freed by reference counts; looking for
    cycles took a quarter of the CPU time of gateway, engine and worker. Cycles of user code are still found.
    `tests/consumers/test_cycles.py` holds runs to it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
