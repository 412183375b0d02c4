"""One fuzzing process: `python -m tests.fuzz.engine TARGET LAUNCHER ARGUMENT…`, with libFuzzer's arguments.

LAUNCHER is the file that starts such a process, which libFuzzer does to minimise a corpus. Only what is
imported after atheris is at work can guide it, so nothing else is imported before.
"""

from __future__ import annotations

import importlib
import sys

import atheris


def main() -> None:
    """Fuzz; the process ends with it."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["gateway"]):
        target = importlib.import_module(f"tests.fuzz.{name}_target")

    def test_one_input(data: bytes) -> None:
        target.check(data)

    atheris.Setup(arguments, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
