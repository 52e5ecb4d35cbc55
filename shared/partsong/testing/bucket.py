"""A bucket in memory: for tests of what several engines change at once."""

from __future__ import annotations

from partsong.bus.bucket import Entry, Overtaken

__all__ = ["MemoryBucket"]


class MemoryBucket:
    """A bucket that is gone with the object; revisions count all its changes, as in JetStream."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._revision = 0

    async def get(self, key: str) -> Entry:
        """See `Bucket.get`."""
        return self._entries.get(key, Entry(None, 0))

    async def keys(self) -> list[str]:
        """See `Bucket.keys`."""
        return sorted(key for key, entry in self._entries.items() if entry.value is not None)

    async def put(self, key: str, value: bytes, expect: int | None = None) -> int:
        """See `Bucket.put`."""
        return self._set(key, value, expect)

    async def remove(self, key: str, expect: int | None = None) -> None:
        """See `Bucket.remove`."""
        self._set(key, None, expect)

    def _set(self, key: str, value: bytes | None, expect: int | None) -> int:
        if expect is not None and self._entries.get(key, Entry(None, 0)).revision != expect:
            raise Overtaken
        self._revision += 1
        self._entries[key] = Entry(value, self._revision)
        return self._revision
