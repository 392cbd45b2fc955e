"""What runs inside, between the start of the interpreter and the first word of foreign code.

The supervisor sends this file's text and a payload through standard input. It imports
nothing of agentkit, for inside there is no agentkit. Everything up to `_run` is trusted;
from there on the process belongs to whoever wrote the code, and the only things that hold
are those the kernel enforces: namespaces or Landlock, seccomp, resource limits, no
capabilities, another user id.

Back through the result pipe come frames: kind (1 byte), length of the name (2 bytes),
length of the data (4 bytes), name, data. Whoever owns the process can forge them, and they
are read with that in mind.
"""

import ctypes
import os
import resource
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing, or signal for one constant, would take longer than all else here
    from typing import Any

_MIB = 1 << 20

# Linux include/uapi/asm-generic/unistd.h; the same on both architectures unless said.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CAPABILITY_V3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2
_PDEATHSIG, _SET_DUMPABLE, _KEEPCAPS, _NO_NEW_PRIVS = 1, 4, 8, 38
_SIGKILL = 9
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_O_PATH = 0o10000000

# include/uapi/linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1, 2, 4, 8, 16, 32
_MAKE_DIR, _MAKE_REG, _MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV = 128, 256, 4096, 8192, 16384, 32768
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WORK = (
    _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE
    | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
)  # fmt: skip
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_LOG_OFF, _LOG_OFF_SINCE = 1, 7
_WORDS_SINCE = {4: 3, 6: 3}  # further fields of the ruleset: all of TCP; abstract sockets and signals

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int, what: str) -> None:
    word = ctypes.c_ulong
    _check(_libc.prctl(option, word(value), word(0), word(0), word(0)), what)


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 when it has none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))


def landlock_ruleset(readable: "list[str]", work: str, writable: "list[str]") -> int:
    """A ruleset that denies all this kernel can deny but reading `readable` and using `work`.

    Made while the paths can still be opened; `landlock_enter` puts it into force.
    """
    abi = landlock_abi()
    if not abi:
        raise OSError("this kernel has no Landlock")
    handled = (1 << 13) - 1
    for since, right in _SINCE.items():
        if abi >= since:
            handled |= right
    words = [handled] + [rights for since, rights in _WORDS_SINCE.items() if abi >= since]
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words), 8 * len(words))
    made = _libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    ruleset = _check(made, "landlock_create_ruleset")
    rules = [(path, _READ) for path in readable] + [(path, _READ_FILE | _WRITE_FILE) for path in writable]
    for path, rights in [*rules, (work, _WORK)]:
        place = os.open(path, _O_PATH | os.O_CLOEXEC)
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES  # noqa: PLW2901 - the kernel refuses rights on directories for a file
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights & handled, place), 12)
        _check(_libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(place)
    return ruleset


def landlock_enter(ruleset: int) -> None:
    """Put the ruleset into force, for good, and without a line in the host's audit log per denial."""
    flags = _LOG_OFF if landlock_abi() >= _LOG_OFF_SINCE else 0
    _check(_libc.syscall(_LANDLOCK_RESTRICT, ruleset, flags), "landlock_restrict_self")
    os.close(ruleset)


def seccomp_enter(program: bytes, pid_slots: "tuple[int, ...]", machine: str) -> None:
    """Put the filter into force for every thread, for good."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    own = bytearray(program)
    for slot in pid_slots:
        struct.pack_into("=I", own, slot, os.getpid())
    code = ctypes.create_string_buffer(bytes(own), len(own))
    whole = Filter(len(own) // 8, ctypes.addressof(code))
    mode_filter, all_threads = 1, 1
    done = _libc.syscall(_SECCOMP[machine], mode_filter, all_threads, ctypes.byref(whole))
    if done:  # positive: a thread that could not follow
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def _mount_quota(work: str, disk: int, entries: int) -> None:
    """A file system of our own over `work`: bwrap's bounds bytes, not entries."""
    options = f"size={disk},nr_inodes={entries + 1},mode=0777".encode()
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"tmpfs", work.encode(), b"tmpfs", flags, options), "mount of the work directory")


def _become(uid: "int | None", keep: int, machine: str) -> None:
    """Leave the user id where there is one to go to, and every capability but those in `keep`."""
    if uid is not None:
        if keep:
            _prctl(_KEEPCAPS, 1, "prctl(PR_SET_KEEPCAPS)")
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_V3, 0), 8)
    sets = ctypes.create_string_buffer(struct.pack("=6I", keep, keep, 0, 0, 0, 0), 24)
    what = "keeping the capability to pass the folders above the interpreter" if keep else "capset"
    _check(_libc.syscall(_CAPSET[machine], header, sets), what)


def _limit(limits: "dict[str, int]") -> None:
    for name, value in limits.items():
        kind = getattr(resource, name)
        allowed = resource.getrlimit(kind)[1]
        lower = value if allowed == resource.RLIM_INFINITY else min(value, allowed)
        resource.setrlimit(kind, (lower, lower))


def _threads_of(uid: int) -> int:
    """How many threads the user has already: RLIMIT_NPROC counts them all."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += os.stat(f"/proc/{name}/task").st_nlink - 2
            except OSError:  # ended meanwhile
                continue
    return count


def _lock_in(payload: "dict[str, Any]") -> None:
    """Give up everything the code must not have. The order matters: each step needs what the next removes."""
    work, machine, supervisor = payload["work"], payload["machine"], payload["supervisor"]
    limits = payload["limits"]
    threads = limits.pop("threads")
    if payload["mount"]:
        _mount_quota(work, payload["disk"], payload["entries"])
    elif payload["uid"] is None:
        threads += _threads_of(os.getuid())
    ruleset = None
    if payload["landlock"] is not None:
        ruleset = landlock_ruleset(payload["landlock"]["read"], work, payload["landlock"]["write"])
    os.chdir(work)
    _become(payload["uid"], _CAP_DAC_READ_SEARCH if payload["search"] else 0, machine)
    if supervisor is not None:  # after the change of user, which resets it
        _prctl(_PDEATHSIG, _SIGKILL, "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != supervisor:
            os._exit(1)
    os.umask(0o077)
    for name, data in payload["files"].items():
        with open(name, "xb") as file:
            file.write(data)
    os.environ.clear()
    os.environ.update(payload["environment"] | {"HOME": work, "TMPDIR": work})
    _limit(limits | {"RLIMIT_NPROC": threads})
    # Where usage is measured from outside, the kernel shows open files only of a dumpable process.
    _prctl(_SET_DUMPABLE, int(ruleset is not None), "prctl(PR_SET_DUMPABLE)")
    _prctl(_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")
    if ruleset is not None:
        landlock_enter(ruleset)
    seccomp_enter(payload["filter"], payload["pid_slots"], machine)


def _send(pipe: int, kind: bytes, name: bytes = b"", data: bytes = b"") -> None:
    rest = memoryview(kind + struct.pack(">HI", len(name), len(data)) + name + data)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _execute(code: str) -> str:
    """Run the code as `__main__`; the value of a last expression is printed, as at the prompt."""
    import _ast
    from types import ModuleType

    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    try:
        tree: Any = compile(code, "<code>", "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
        exec(compile(tree, "<code>", "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - the point
        if last is not None:
            final = _ast.Interactive(body=[last])
            exec(compile(final, "<code>", "single", dont_inherit=True), main.__dict__)  # noqa: S102 - as above
    except SystemExit as end:
        if end.code in (None, 0):
            return "ok"
        if not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}"[:8000] + "\n")
        return "error"
    except BaseException as error:  # noqa: BLE001 - whatever foreign code raises
        sys.stderr.write(_told(error, code))
        return "memory" if isinstance(error, MemoryError) else "error"
    else:
        return "ok"


def _told(error: BaseException, code: str) -> str:
    """The traceback from the code's first line on, or what can be said without one."""
    kind = type(error).__name__
    try:
        import linecache
        import traceback

        lines = [line + "\n" for line in code.split("\n")]
        linecache.cache["<code>"] = (len(code), None, lines, "<code>")
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # the first frame is ours
        if trace is None:
            return "".join(traceback.format_exception_only(type(error), error))[-8000:]
        return "".join(traceback.format_exception(type(error), error, trace, limit=-10))[-8000:]
    except BaseException:  # noqa: BLE001 - no memory left for it, or code that meddles with these modules
        return f"{kind}\n"


def _collect(pipe: int, given: "dict[str, bytes]", count: int, size: int) -> None:
    """Send the new and changed regular files of the work directory, as long as they fit."""
    most = size
    for name in sorted(os.listdir(b".")):
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # a link, or not readable
            _send(pipe, b"L", name)
            continue
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            os.close(file)
            continue
        with os.fdopen(file, "rb") as opened:
            data = opened.read(most + 1)
        if given.get(os.fsdecode(name)) == data:
            continue
        if about.st_nlink != 1 or len(data) > size or count < 1:
            _send(pipe, b"L", name)
            continue
        _send(pipe, b"F", name, data)
        size, count = size - len(data), count - 1


def _run(payload: "dict[str, Any]", pipe: int) -> None:
    outcome = "error"
    try:
        outcome = _execute(payload["code"])
        if threading := sys.modules.get("threading"):
            threading._shutdown()  # noqa: SLF001 - what the interpreter does at its end: waits for threads
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001, S110 - closed streams are the code's own affair
        pass
    try:
        _collect(pipe, payload["files"], payload["count"], payload["size"])
    except BaseException:  # noqa: BLE001 - as above; what could be sent was sent
        _send(pipe, b"L", b"(some)")
    _send(pipe, b"E", data=outcome.encode())
    os._exit(0 if outcome == "ok" else 1)


def main(payload: "dict[str, Any]", pipe: int) -> None:
    """Lock in, say so, run the code, report, end."""
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(pipe, 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        pipe = 3
        sys.path[:] = [*sys.path, *payload["packages"]]
        sys.argv[:] = ["<code>"]
        stdout: Any = sys.stdout
        stdout.reconfigure(line_buffering=True, errors="backslashreplace")
        _lock_in(payload)
    except BaseException as error:  # noqa: BLE001 - the supervisor says it
        _send(pipe, b"X", data=f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    _send(pipe, b"S")
    _run(payload, pipe)
