"""A filter of system calls: threads yes, processes no, and none of the kernel's larger doors."""

from __future__ import annotations

import errno
import struct

__all__ = ["program"]

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

# clone3 hides its flags in memory, where no filter sees them; told that it is not there, libc falls back to clone.
_CLONE3 = 435
_TABLES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    # clone; fork vfork ptrace mount add_key request_key keyctl unshare perf_event_open setns bpf userfaultfd io_uring_setup
    "x86_64": (0xC000003E, 56, (57, 58, 101, 165, 248, 249, 250, 272, 298, 308, 321, 323, 425)),
    "aarch64": (0xC00000B7, 220, (117, 40, 217, 218, 219, 97, 241, 268, 280, 282, 425)),
}


def program(machine: str) -> bytes | None:
    """The filter as the kernel takes it, or None for a machine whose numbers are not known here."""
    if machine not in _TABLES:
        return None
    architecture, clone, refused = _TABLES[machine]
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for number, code in [(_CLONE3, errno.ENOSYS), *((number, errno.EPERM) for number in refused)]:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE | code)]
    steps += [
        _step(_EQUAL, clone, 1, 0),
        _step(_RETURN, _ALLOW),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _REFUSE | errno.EPERM),
    ]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
