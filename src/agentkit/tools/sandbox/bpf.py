"""The seccomp filter, as a classic BPF program (Linux `seccomp(2)`, `linux/seccomp.h`).

One filter for every backend. It kills on a foreign ABI, allows what `syscalls` lists, looks
at arguments where a call is harmless only in some forms, and answers EPERM to the rest.
Because no process can be made and no program started, limits per process bound the whole
sandbox, and nothing can outlive it.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from errno import ENOSYS, ENOTTY, EPERM

from agentkit.tools.sandbox.syscalls import Architecture

KILL = 0x80000000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06  # _BITS: A &= operand
_NUMBER, _AUDIT = 0, 4  # offsets in struct seccomp_data

THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
"""What glibc and musl pass to clone for a thread. Anything else would be a process or a namespace."""

IOCTLS = (0x5451, 0x5450, 0x5421, 0x541B, 0x5401, 0x5413)
"""FIOCLEX, FIONCLEX, FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ."""

FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""Duplicate, flags, record locks, size of a pipe. Not F_SETOWN and F_SETSIG, which aim signals at
any process of the same user; not F_SETPIPE_SZ, F_NOTIFY, F_SETLEASE, F_ADD_SEALS."""

PRCTLS = (3, 15, 16, 21, 39, 0x53564D41)
"""GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, GET_NO_NEW_PRIVS, SET_VMA."""

_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF

Instruction = tuple[int, int, int, int]
"""Code, steps to jump if true, steps to jump if false, operand."""


@dataclass(frozen=True, slots=True)
class Program:
    """An assembled filter.

    Attributes:
        code: `struct sock_filter` records of 8 bytes.
        pid_slots: Offsets of the 32-bit words that have to hold the sandboxed process's own id,
            which is known only inside.
    """

    code: bytes
    pid_slots: tuple[int, ...]


def build(architecture: Architecture) -> Program:
    """Assemble the filter for a processor."""
    pid_marks: list[int] = []
    program: list[Instruction] = [
        (_LOAD, 0, 0, _AUDIT),
        (_EQUAL, 1, 0, architecture.audit),
        _answer(KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.foreign is not None:
        program += [(_AT_LEAST, 0, 1, architecture.foreign), _answer(KILL)]
    for name, number in architecture.numbers.items():
        body = _BODIES.get(name, [_answer(ALLOW)])
        program.append((_EQUAL, 0, len(body), number))
        if name in ("kill", "tgkill"):
            pid_marks.append(len(program) + 1)  # the comparison follows the load
        program += body
    program.append(_answer(_ERRNO | EPERM))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    return Program(code, tuple(mark * 8 + 4 for mark in pid_marks))


def _answer(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)


def _low(argument: int) -> Instruction:
    return (_LOAD, 0, 0, 16 + 8 * argument)  # both architectures are little-endian


def _high(argument: int) -> Instruction:
    return (_LOAD, 0, 0, 20 + 8 * argument)


def _one_of(argument: int, values: Iterable[int], *, otherwise: int = EPERM) -> list[Instruction]:
    """Allow when the low half of an argument is one of `values`: the kernel reads these as int."""
    wanted = tuple(values)
    tests = [(_EQUAL, len(wanted) - place, 0, value) for place, value in enumerate(wanted)]
    return [_low(argument), *tests, _answer(_ERRNO | otherwise), _answer(ALLOW)]


def _zero(*halves: Instruction) -> list[Instruction]:
    """Allow when all these halves of arguments are 0."""
    checks: list[Instruction] = []
    for left, half in zip(range(len(halves) - 1, -1, -1), halves, strict=True):
        checks += [half, (_EQUAL, 0, 2 * left + 1, 0)]
    return [*checks, _answer(ALLOW), _answer(_ERRNO | EPERM)]


def _open(flags: int) -> list[Instruction]:
    """Refuse the two ways of opening that Landlock does not weigh.

    O_TRUNC without write access, which changes a file before ABI 3, and access mode 3, which
    asks for neither reading nor writing and so for no right.
    """
    return [
        _low(flags),
        (_BITS, 0, 0, _O_ACCMODE | _O_TRUNC),
        (_EQUAL, 3, 0, _O_TRUNC),  # read-only and truncating
        (_BITS, 0, 0, _O_ACCMODE),
        (_EQUAL, 1, 0, _O_ACCMODE),
        _answer(ALLOW),
        _answer(_ERRNO | EPERM),
    ]


def _thread(flags: int) -> list[Instruction]:
    """Allow clone for a thread; the flags are a long, and its upper half has to be empty."""
    return [
        _high(flags),
        (_EQUAL, 0, 3, 0),
        _low(flags),
        (_EQUAL, 2, 0, THREAD_FLAGS[0]),
        (_EQUAL, 1, 0, THREAD_FLAGS[1]),
        _answer(_ERRNO | EPERM),
        _answer(ALLOW),
    ]


def _stream_pair() -> list[Instruction]:
    """Allow socketpair(AF_UNIX, SOCK_STREAM): a datagram pair could still send to any address."""
    return [
        _low(0),
        (_EQUAL, 0, 4, _AF_UNIX),
        _low(1),
        (_BITS, 0, 0, _SOCK_TYPE),
        (_EQUAL, 0, 1, _SOCK_STREAM),
        _answer(ALLOW),
        _answer(_ERRNO | EPERM),
    ]


_NO_EFFECT = [_answer(_ERRNO)]
"""Success without the call. Landlock has no right for modes and times, and copying a file sets them;
to flush files that are thrown away is only to keep the host's disk busy."""

_BODIES: Mapping[str, list[Instruction]] = {
    "clone": _thread(0),
    "clone3": [_answer(_ERRNO | ENOSYS)],  # its flags are in memory, out of sight; glibc falls back to clone
    "open": _open(1),
    "openat": _open(2),
    "ioctl": _one_of(1, IOCTLS, otherwise=ENOTTY),
    "fcntl": _one_of(1, FCNTLS),
    "prctl": _one_of(0, PRCTLS),
    "kill": _one_of(0, (0,)),  # 0 is replaced by the process's own id: see Program.pid_slots
    "tgkill": _one_of(0, (0,)),
    "prlimit64": _zero(_low(0), _low(2), _high(2)),  # its own limits, to read
    "sendto": _zero(_low(4), _high(4)),  # to the other end of a pair, never to an address
    "socketpair": _stream_pair(),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat"), _NO_EFFECT),
    **dict.fromkeys(("fsync", "fdatasync"), _NO_EFFECT),
}
"""What follows a call's number where the arguments decide; every path ends in an answer."""
