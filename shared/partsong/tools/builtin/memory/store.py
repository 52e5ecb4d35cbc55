"""Vectors in SQLite, compared one by one in memory: exact, and quick enough for tens of thousands."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.tools.builtin.memory.port import Item, Match, Pin, Vector

__all__ = ["SqliteVectorStore"]

_Floats: TypeAlias = NDArray[np.float32]

_KEPT = 8
"""Namespaces whose vectors stay in memory after a query."""
_FORMAT = "1"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    namespace TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (namespace, id)
);
"""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """All vectors of a namespace, as of one version of the database."""

    version: tuple[int, int]
    ids: list[str]
    vectors: _Floats


class SqliteVectorStore:
    """A `VectorStore` in a file, or in memory if there is no path; several processes may share the file."""

    def __init__(self, pin: Pin, path: Path | None = None) -> None:
        """Open or make it.

        Raises:
            Conflict: `memory.embedder` if its vectors are of another embedder.
        """
        self._pin = pin
        self._lock = threading.RLock()
        self._writes = 0
        self._kept: OrderedDict[str, _Matrix] = OrderedDict()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=30.0)
        try:
            self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def upsert(self, namespace: str, items: Sequence[Item]) -> None:
        """Write all items or none."""
        rows = [
            (namespace, item.id, item.text, self._direction(item.vector).astype("<f4").tobytes())
            for item in items
        ]
        with self._lock, self._db:
            self._writes += 1
            self._db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", rows)

    def query(self, namespace: str, vector: Vector, k: int) -> list[Match]:
        """The `k` nearest items."""
        direction = self._direction(vector)
        with self._lock:
            matrix = self._matrix(namespace)
            scores = matrix.vectors @ direction
            return [
                Match(matrix.ids[i], self._text(namespace, matrix.ids[i]), float(scores[i]))
                for i in _highest(scores, k)
            ]

    def delete(self, namespace: str, ids: Sequence[str]) -> int:
        """Take items out."""
        with self._lock, self._db, closing(self._db.cursor()) as cursor:
            self._writes += 1
            before = self._db.total_changes
            cursor.executemany(
                "DELETE FROM items WHERE namespace = ? AND id = ?", [(namespace, id) for id in ids]
            )
            return self._db.total_changes - before

    def namespaces(self) -> dict[str, int]:
        """How many items each namespace has."""
        with self._lock:
            return dict(
                self._db.execute("SELECT namespace, count(*) FROM items GROUP BY 1 ORDER BY 1")
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._kept.clear()
            self._db.close()

    def _prepare(self, path: Path | None) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        with self._db:
            self._db.executescript(_TABLES)
            mine = {
                "format": _FORMAT,
                "embedder": self._pin.embedder,
                "dimension": str(self._pin.dimension),
            }
            self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", mine.items())
        found = dict(self._db.execute("SELECT key, value FROM about"))
        if found != mine:
            raise Conflict(
                "memory.embedder",
                f"{path or 'this memory'} holds vectors of {found.get('embedder')} "
                f"with {found.get('dimension')} dimensions, not of {mine['embedder']} with {mine['dimension']}",
                where="PARTSONG_EMBEDDER",
                fix="go back to the embedder the file was made with, or move the file away and remember its texts again "
                "(they are in its table items)",
            )

    def _matrix(self, namespace: str) -> _Matrix:
        """The namespace's vectors, read again only if somebody has written."""
        (others,) = self._db.execute("PRAGMA data_version").fetchone()
        version = (int(others), self._writes)
        kept = self._kept.get(namespace)
        if kept is None or kept.version != version:
            kept = self._read(namespace, version)
            self._kept[namespace] = kept
        self._kept.move_to_end(namespace)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept

    def _read(self, namespace: str, version: tuple[int, int]) -> _Matrix:
        rows = self._db.execute(
            "SELECT id, vector FROM items WHERE namespace = ? ORDER BY id", (namespace,)
        ).fetchall()
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), dtype="<f4")
        return _Matrix(
            version, [id for id, _ in rows], vectors.reshape(len(rows), self._pin.dimension)
        )

    def _text(self, namespace: str, id: str) -> str:
        row = self._db.execute(
            "SELECT text FROM items WHERE namespace = ? AND id = ?", (namespace, id)
        ).fetchone()
        return str(row[0]) if row else ""

    def _direction(self, vector: Vector) -> _Floats:
        """The vector with length 1, or zeros if it has none."""
        found = np.asarray(vector, dtype=np.float32)
        if found.shape != (self._pin.dimension,) or not np.isfinite(found).all():
            raise InvalidInput(
                "memory.bad_vector",
                f"a vector of shape {found.shape}, but {self._pin.embedder} makes {self._pin.dimension} finite numbers",
                where="vector",
            )
        length = float(np.linalg.norm(found))
        return found / np.float32(length) if length else found


def _highest(scores: _Floats, k: int) -> NDArray[np.intp]:
    """Where the `k` highest scores are, highest first, and of equal ones the first."""
    if k <= 0:
        return np.empty(0, dtype=np.intp)
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, -k)[-k]
    among = np.flatnonzero(scores >= least)
    return among[np.argsort(-scores[among], kind="stable")][:k]
