"""The threads of sync handlers."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from consumers.threads import HandlerThreads


def test_results_and_errors_arrive() -> None:
    threads = HandlerThreads(2)
    assert threads.submit(pow, 2, 5).result(5) == 32
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(5)
    with pytest.raises(SystemExit):
        threads.submit(sys.exit, 3).result(5)
    assert threads.submit(pow, 2, 2).result(5) == 4  # the thread has survived
    threads.shutdown()


def test_there_are_never_more_threads_than_allowed_and_idle_ones_are_used_again() -> None:
    threads = HandlerThreads(2)
    seen: set[str] = set()
    for _ in range(20):
        seen.add(threads.submit(lambda: threading.current_thread().name).result(5))
    barrier = threading.Barrier(3)
    both = [threads.submit(barrier.wait, 5) for _ in range(2)]
    third = threads.submit(lambda: "third")
    assert not third.done()
    barrier.wait(5)
    assert {future.result(5) for future in both} <= {0, 1, 2}
    assert third.result(5) == "third"
    assert len(seen) <= 2
    threads.shutdown()


def test_what_waits_can_be_taken_back() -> None:
    threads, release = HandlerThreads(1), threading.Event()
    running = threads.submit(release.wait, 5)
    waiting = threads.submit(pow, 2, 2)
    assert waiting.cancel()
    release.set()
    assert running.result(5) is True
    assert threads.submit(pow, 3, 2).result(5) == 9
    threads.shutdown()


def test_shutting_down_takes_back_what_waits_and_accepts_nothing_more() -> None:
    threads, release = HandlerThreads(1), threading.Event()
    running, waiting = threads.submit(release.wait, 5), threads.submit(pow, 2, 2)
    threads.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        threads.submit(pow, 2, 2)
    release.set()
    assert running.result(5) is True


def test_a_thread_that_never_returns_does_not_keep_the_process() -> None:
    code = (
        "import threading, time\n"
        "from consumers.threads import HandlerThreads\n"
        "begun = threading.Event()\n"
        "HandlerThreads(1).submit(lambda: (begun.set(), time.sleep(600)))\n"
        "begun.wait()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20, check=False).returncode == 0
