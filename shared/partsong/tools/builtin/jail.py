"""A directory that paths cannot lead out of, and the kernel that sees to it.

Linux opens with `openat2` and RESOLVE_BENEATH: whatever a path, a link or another process does meanwhile, the file is
below the root or there is none. Elsewhere each step is taken with O_NOFOLLOW, and links are refused altogether.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from partsong.contracts.errors import InvalidInput, NotFound, PartsongError

__all__ = ["DENIED", "Jail", "kernel_keeps_paths"]

DENIED = (
    *(
        ".env",
        ".env.*",
        "*.pem",
        "*.key",
        "*.p12",
        "*.pfx",
        "*.jks",
        "*.kdbx",
        "id_rsa*",
        "id_ed25519*",
    ),
    *(
        ".git",
        ".ssh",
        ".gnupg",
        ".aws",
        ".azure",
        ".kube",
        ".docker",
        ".netrc",
        ".pgpass",
        ".npmrc",
        ".pypirc",
    ),
    *(".htpasswd", "*.keytab", "*.tfstate", ".vault-token", "credentials", "credentials.json"),
)
"""Names that no path may go through, whatever their case: they hold secrets."""

_SYSCALL = 437  # the same on every architecture
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_FLAGS = (
    os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
)  # nobody waits for a FIFO's writer
_RACES = 16
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class Jail:
    """Opens files below one directory for reading."""

    def __init__(
        self, root: Path, *, deny: Iterable[str] = DENIED, kernel: bool | None = None
    ) -> None:
        """Keep the root; `kernel=False` takes the steps one by one although the kernel could do it."""
        self._root = root
        self._deny = tuple(pattern.casefold() for pattern in deny)
        self._kernel = kernel_keeps_paths() if kernel is None else kernel

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A regular file, by its path from the root.

        Raises:
            InvalidInput: `file.outside`, `file.denied`, `file.not_regular`, `file.no_access` or `file.bad_root`.
            NotFound: `file.not_found`.
        """
        parts = self._checked(path)
        with self._rooted() as root:
            try:
                found = self._by_kernel(root, path) if self._kernel else _step_by_step(root, parts)
            except OSError as error:
                raise _refusal(path, error.errno) from error
            try:
                _check_kind(path, os.fstat(found).st_mode)
                if self._kernel:  # a link may have another name than what it leads to
                    self._check_names(path, _real_parts(path, root, found))
                file = os.fdopen(found, "rb")
            except BaseException:
                os.close(found)
                raise
            with file:
                yield file

    @contextmanager
    def _rooted(self) -> Iterator[int]:
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(
                "file.bad_root",
                f"the root of readable files cannot be opened: {error.strerror}",
                where=str(self._root),
                fix="name a directory that exists",
                fault="platform",
            ) from error
        try:
            yield root
        finally:
            os.close(root)

    def _checked(self, path: str) -> tuple[str, ...]:
        if not path or "\0" in path or len(path) > 4096:
            raise _invalid("outside", f"{path!r:.80} is no path")
        parts = PurePosixPath(path).parts
        if path.startswith("/") or "\\" in path:
            raise _invalid("outside", f"{path!r:.80} is no path from the root of readable files")
        self._check_names(path, parts)
        return parts

    def _check_names(self, path: str, parts: Iterable[str]) -> None:
        for part in parts:
            if any(fnmatchcase(part.casefold(), pattern) for pattern in self._deny):
                raise _invalid(
                    "denied", f"{path} goes to {part}, which may hold secrets and stays closed"
                )

    def _by_kernel(self, root: int, path: str) -> int:
        for _ in range(_RACES):
            try:
                return _openat2(root, path)
            except BlockingIOError:  # something was renamed meanwhile, and the kernel is not sure
                continue
        raise OSError(errno.EXDEV, "renamed over and over")


@cache
def kernel_keeps_paths() -> bool:
    """Whether this kernel has `openat2`, lets us use it, and says what a link led to."""
    if sys.platform != "linux":
        return False
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(root, "."))
        return Path(f"/proc/self/fd/{root}").readlink() == Path("/")
    except OSError:
        return False
    finally:
        os.close(root)


def _openat2(root: int, path: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    how = _How(flags=_FLAGS, mode=0, resolve=_BENEATH | _NO_MAGICLINKS)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    call = ctypes.c_long(_SYSCALL)
    found = int(libc.syscall(call, root, os.fsencode(path), ctypes.byref(how), size))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def _step_by_step(root: int, parts: tuple[str, ...]) -> int:
    """Like the kernel's own way, without links and without `..`."""
    if ".." in parts:
        raise OSError(errno.EXDEV, "outside")
    here = os.dup(root)
    for number, part in enumerate(parts, start=1):
        between = 0 if number == len(parts) else os.O_DIRECTORY
        try:
            there = os.open(part, _FLAGS | os.O_NOFOLLOW | between, dir_fd=here)
        except NotADirectoryError:
            link = stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)
            raise OSError(errno.ELOOP if link else errno.ENOTDIR, part) from None
        finally:
            os.close(here)
        here = there
    return here


def _check_kind(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise _invalid("not_regular", f"{path} is {kind}, not a regular file")


def _real_parts(path: str, root: int, found: int) -> tuple[str, ...]:
    try:
        base = Path(f"/proc/self/fd/{root}").readlink()
        return Path(f"/proc/self/fd/{found}").readlink().relative_to(base).parts
    except (OSError, ValueError) as error:
        raise _invalid("no_access", f"{path} was moved while it was opened") from error


def _refusal(path: str, number: int | None) -> PartsongError:
    match number:
        case errno.ENOENT | errno.ENOTDIR | errno.ENAMETOOLONG:
            return NotFound("file.not_found", f"there is no file {path}", where="args.path")
        case errno.EXDEV:
            return _invalid("outside", f"{path} leads out of the root of readable files")
        case errno.ELOOP:
            return _invalid("outside", f"{path} goes through a link that is not followed")
        case errno.ENXIO:
            return _invalid("not_regular", f"{path} is a socket, not a regular file")
        case _:
            why = os.strerror(number) if number else "it cannot be opened"
            return _invalid("no_access", f"{path}: {why}")


def _invalid(kind: str, message: str) -> InvalidInput:
    return InvalidInput(f"file.{kind}", message, where="args.path")
