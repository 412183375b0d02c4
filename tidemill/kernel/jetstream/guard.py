"""Keep one child process exactly as long as the owner lives; run as a script, with standard library only.

    python -I -S guard.py [--grace=SECONDS] COMMAND ARGUMENT...

The owner holds the writing end of the guard's standard input. When that closes, because the owner closed
it or died in any way, the guard terminates the command, also when it was stopped by a signal, and kills it
after a grace period. When the
command ends by itself, the guard exits with its exit code (128 + signal number for a signal, as a shell
does). Should the guard itself be killed, Linux terminates the command. Descriptors that the guard was given
beside the standard ones go on to the command: a lock that is held through them lasts as long as it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

GRACE = 10.0
_OPTION = "--grace="
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(command: list[str]) -> int:
    """Run the command under guard and return the exit code to end with."""
    grace = GRACE
    if command[0].startswith(_OPTION):
        grace, command = float(command[0].removeprefix(_OPTION)), command[1:]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=_die_with_the_guard,  # noqa: PLW1509 - no thread has been started yet
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=_watch_owner, args=(child, grace), name="owner", daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch_owner(child: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(0, 1024):
        pass
    child.terminate()
    if sys.platform != "win32":
        child.send_signal(signal.SIGCONT)  # a stopped one would learn of its end only when it goes on
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()


def _die_with_the_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
