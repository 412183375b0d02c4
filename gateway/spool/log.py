"""The spool's log: segments of records in one folder, appended to at one end and drained from the other.

A segment is a file named after its first record's sequence and its records' key. Appending returns after
fsync. `position` says up to which record all was drained; a segment is deleted when it is drained. Who opens
the log holds its lock, and begins a new segment: behind what a crash has torn nothing is written. Everything
here blocks.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.spool import record
from gateway.spool.record import OVERHEAD, Record
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.jetstream.embedded_files import FileLock, make_private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"([0-9]{16})-([0-9a-f]{32})\.log")
_KEY_BYTES: Final = 16
_SEGMENT: Final = 4 << 20
_LEAST_SEGMENT: Final = 64 << 10
_SHARE: Final = 8
_BATCH_BYTES: Final = 1 << 20
_MODE: Final = 0o600


@dataclass(slots=True)
class _Segment:
    """A file of records; `size` counts only what is known to be on the disk."""

    path: Path
    first: int
    key: bytes
    size: int
    damaged: bool = False
    cursor: int = 0


class SegmentLog:
    """The log of one folder.

    Attributes:
        folder: where it is.
        limit: bytes that all segments together may have.
        size: bytes that they have.
        drained: the sequence up to which all was drained.

    Raises:
        SettingsError: the folder can't be used, or another process uses it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._segment_bytes = max(_LEAST_SEGMENT, min(_SEGMENT, limit // _SHARE))
        try:
            make_private_folder(folder)
            self._lock = FileLock(folder / "lock")
        except OSError as error:
            raise _unusable(folder, error) from error
        if not self._lock.exclusive():
            self._lock.close()
            raise SettingsError(
                f"the spool in {folder} is used by another gateway",
                hint="give each gateway on this machine a gateway.spool_dir of its own",
            )
        self._active = -1
        try:
            self.drained = self._read_position()
            self._segments = self._find_segments()
        except OSError as error:
            self.close()
            raise _unusable(folder, error) from error
        self._next = 1 + self.drained
        self.size = sum(segment.size for segment in self._segments)

    def room_for(self, payload: bytes, pending: int = 0) -> bool:
        """Say whether a payload may be appended, beside `pending` bytes that will be."""
        return self.size + pending + OVERHEAD + len(payload) <= self.limit

    def recover(self) -> Iterator[Record]:
        """Yield the records that weren't drained; to be called once, before anything else.

        Raises:
            OSError: a segment can't be read.
        """
        for segment in self._segments:
            data, end = segment.path.read_bytes(), 0
            for found in record.scan(data, segment.key):
                segment.damaged |= found.start > end
                end = found.end
                if found.seq >= self._next:
                    self._next = found.seq + 1
                    yield found
            if segment.damaged or end < len(data):
                _log.warning("%s: %d bytes, whole records up to %d", segment.path, len(data), end)

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """Write records and bring them to the disk; return their sequences.

        Raises:
            OSError: none of them counts as written.
        """
        first = self._next
        # Also where it fails: what stays on the disk then mustn't be taken for a later record.
        self._next += len(payloads)
        segment = self._writable(first)
        data = b"".join(
            record.encode(first + index, payload, segment.key) for index, payload in enumerate(payloads)
        )
        try:
            _write_at(self._active, data, segment.size)
            os.fsync(self._active)
        except OSError:
            self._give_up(segment)
            raise
        segment.size += len(data)
        self.size += len(data)
        return list(range(first, self._next))

    def batch(self, after: int, most: int) -> list[Record]:
        """Return the first records behind a sequence, `most` of them or a megabyte at most.

        Raises:
            OSError: a segment can't be read.
        """
        for index, segment in enumerate(self._segments):
            following = self._segments[index + 1].first if index + 1 < len(self._segments) else self._next
            if following > after + 1 and segment.size:
                found = self._batch_of(segment, after, most)
                if found:
                    return found
        return []

    def lose(self) -> None:
        """Keep what is left for a look, instead of deleting it when it is drained: records are missing."""
        for segment in self._segments:
            segment.damaged = True

    def _batch_of(self, segment: _Segment, after: int, most: int) -> list[Record]:
        found: list[Record] = []
        size = 0
        with segment.path.open("rb") as file:
            data = file.read(segment.size)
        for one in record.scan(data, segment.key, segment.cursor):
            if one.seq <= after:
                continue
            if not found:
                segment.cursor = one.start
            found.append(one)
            size += len(one.payload)
            if len(found) >= most or size >= _BATCH_BYTES:
                break
        return found

    def drain(self, upto: int) -> None:
        """Note that everything up to a sequence was drained, and delete what isn't needed any more.

        Raises:
            OSError: it couldn't be noted; what was drained is drained again after a crash.
        """
        self.drained = max(self.drained, upto)
        self._write_position()
        whole = self.drained + 1 >= self._next
        while self._segments and (whole or (len(self._segments) > 1 and self._segments[1].first <= upto + 1)):
            self._remove(self._segments[0])

    def close(self) -> None:
        """Let the folder go; safe to call twice."""
        self._retire()
        self._lock.close()

    def set_aside(self, seq: int, payload: bytes) -> Path:
        """Keep a record that can't be drained in a file of its own, and return it.

        Raises:
            OSError: it can't be written.
        """
        path = self.folder / f"aside-{seq:016d}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            _write_at(descriptor, payload, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync_folder()
        return path

    def _find_segments(self) -> list[_Segment]:
        found = [
            _Segment(path, int(name[1]), bytes.fromhex(name[2]), path.stat().st_size)
            for path in self.folder.iterdir()
            if (name := _NAME.fullmatch(path.name))
        ]
        return sorted(found, key=lambda segment: segment.first)

    def _writable(self, first: int) -> _Segment:
        """Return the segment to append to, a new one where there is none or it is long enough."""
        if self._active >= 0 and self._segments and self._segments[-1].size < self._segment_bytes:
            return self._segments[-1]
        self._retire()
        key = secrets.token_bytes(_KEY_BYTES)
        path = self.folder / f"{first:016d}-{key.hex()}.log"
        self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            self._sync_folder()
        except OSError:
            self._retire()
            raise
        self._segments.append(_Segment(path, first, key, 0))
        return self._segments[-1]

    def _give_up(self, segment: _Segment) -> None:
        """Take back what was written and perhaps isn't on the disk; nothing more goes behind it."""
        with suppress(OSError):
            os.ftruncate(self._active, segment.size)
            os.fsync(self._active)
            if not segment.size:
                self._remove(segment)
        self._retire()

    def _retire(self) -> None:
        descriptor, self._active = self._active, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _remove(self, segment: _Segment) -> None:
        if segment is self._segments[-1]:
            self._retire()
        if segment.damaged:
            segment.path.replace(segment.path.with_suffix(".damaged"))
        else:
            segment.path.unlink(missing_ok=True)
        self._segments.remove(segment)
        self.size -= segment.size

    def _read_position(self) -> int:
        try:
            found = record.read((self.folder / "position").read_bytes(), 0, b"")
        except FileNotFoundError:
            return 0
        return found.seq if found is not None else 0

    def _write_position(self) -> None:
        path = self.folder / "position"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            _write_at(descriptor, record.encode(self.drained, b"", b""), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _unusable(folder: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"the spool can't be in {folder}: {error}",
        hint="set gateway.spool_dir to a folder that this user may write to",
    )
