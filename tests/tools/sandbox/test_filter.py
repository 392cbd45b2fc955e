"""The system call filter answers as it should, for both processors, call by call."""

import re
import struct
from errno import ENOSYS, ENOTTY, EPERM
from functools import cache
from pathlib import Path

import pytest

from agentkit.tools.sandbox.bpf import ALLOW, FCNTLS, IOCTLS, KILL, PRCTLS, THREAD_FLAGS, build
from agentkit.tools.sandbox.syscalls import ARCHITECTURES

from .bpf_machine import answer

REFUSED, NOTHING = 0x00050000 | EPERM, 0x00050000
HIGH = 1 << 32
PID = 4711
MACHINES = sorted(ARCHITECTURES)

DANGEROUS = {
    "x86_64": """fork=57 vfork=58 execve=59 execveat=322 socket=41 connect=42 bind=49 listen=50 accept=43
        accept4=288 sendmsg=46 sendmmsg=307 recvmsg=47 setsockopt=54 ptrace=101 process_vm_readv=310
        process_vm_writev=311 mount=165 umount2=166 pivot_root=155 chroot=161 unshare=272 setns=308
        open_tree=428 move_mount=429 fsopen=430 fsmount=432 io_uring_setup=425 io_uring_enter=426
        io_uring_register=427 bpf=321 perf_event_open=298 userfaultfd=323 keyctl=250 add_key=248
        request_key=249 memfd_create=319 memfd_secret=447 shmget=29 semget=64 msgget=68 mq_open=240
        setuid=105 setgid=106 setresuid=117 setgroups=116 capset=126 mknod=133 mknodat=259 link=86 linkat=265
        tkill=200 rt_sigqueueinfo=129 rt_tgsigqueueinfo=297 pidfd_open=434 pidfd_getfd=438
        pidfd_send_signal=424 timer_create=222 truncate=76 chown=92 fchown=93 lchown=94 fchownat=260
        setxattr=188 fsetxattr=190 removexattr=197 name_to_handle_at=303 open_by_handle_at=304 openat2=437
        inotify_init1=294 fanotify_init=300 flock=73 splice=275 vmsplice=278 tee=276 setsid=112 setpgid=109
        setpriority=141 sched_setaffinity=203 sched_setscheduler=144 personality=135 mlock=149 seccomp=317
        kexec_load=246 init_module=175 finit_module=313 modify_ldt=154 utime=132 utimes=235 futimesat=261
        membarrier=324 mincore=27 get_robust_list=274""",
    "aarch64": """execve=221 execveat=281 socket=198 connect=203 bind=200 listen=201 accept=202 accept4=242
        sendmsg=211 sendmmsg=269 recvmsg=212 setsockopt=208 ptrace=117 process_vm_readv=270
        process_vm_writev=271 mount=40 umount2=39 pivot_root=41 chroot=51 unshare=97 setns=268 open_tree=428
        move_mount=429 fsopen=430 fsmount=432 io_uring_setup=425 io_uring_enter=426 io_uring_register=427
        bpf=280 perf_event_open=241 userfaultfd=282 keyctl=219 add_key=217 request_key=218 memfd_create=279
        memfd_secret=447 shmget=194 semget=190 msgget=186 mq_open=180 setuid=146 setgid=144 setresuid=147
        setgroups=159 capset=91 mknodat=33 linkat=37 tkill=130 rt_sigqueueinfo=138 rt_tgsigqueueinfo=240
        pidfd_open=434 pidfd_getfd=438 pidfd_send_signal=424 timer_create=107 truncate=45 fchown=55
        fchownat=54 setxattr=5 fsetxattr=7 removexattr=14 name_to_handle_at=264 open_by_handle_at=265
        openat2=437 inotify_init1=26 fanotify_init=262 flock=32 splice=76 vmsplice=75 tee=77 setsid=157
        setpgid=154 setpriority=140 sched_setaffinity=122 sched_setscheduler=119 personality=92 mlock=228
        seccomp=277 kexec_load=104 init_module=105 finit_module=273
        membarrier=283 mincore=232 get_robust_list=100""",
}


@cache
def program(machine: str) -> bytes:
    """The filter of process PID."""
    built = build(ARCHITECTURES[machine])
    code = bytearray(built.code)
    for slot in built.pid_slots:
        struct.pack_into("<I", code, slot, PID)
    return bytes(code)


def asked(machine: str, call: str | int, *arguments: int, audit: int | None = None) -> int:
    """What the filter says to a call."""
    architecture = ARCHITECTURES[machine]
    number = architecture.numbers[call] if isinstance(call, str) else call
    spoken = architecture.audit if audit is None else audit
    return answer(program(machine), audit=spoken, number=number, arguments=arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_dangerous_calls_are_refused(machine: str) -> None:
    pairs = [entry.split("=") for entry in DANGEROUS[machine].split()]
    allowed = [name for name, number in pairs if asked(machine, int(number)) != REFUSED]
    assert allowed == []
    assert len(pairs) > 70


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_not_listed_is_refused(machine: str) -> None:
    listed = set(ARCHITECTURES[machine].numbers.values())
    others = [number for number in range(1024) if number not in listed]
    assert {asked(machine, number) for number in others} == {REFUSED}


@pytest.mark.parametrize("machine", MACHINES)
def test_plain_calls_are_allowed(machine: str) -> None:
    for call in ("read", "write", "mmap", "futex", "exit_group", "getrandom", "clock_gettime", "ftruncate"):
        assert asked(machine, call) == ALLOW, call


@pytest.mark.parametrize("machine", MACHINES)
def test_foreign_abis_kill(machine: str) -> None:
    for audit in (0x40000003, 0x40000028, 0xC000003E, 0xC00000B7, 0):
        if audit != ARCHITECTURES[machine].audit:
            assert asked(machine, "read", audit=audit) == KILL, hex(audit)


def test_the_x32_numbers_kill() -> None:
    assert asked("x86_64", 0x40000000) == KILL
    assert asked("x86_64", 0x40000000 + 520) == KILL
    assert asked("x86_64", 0xFFFFFFFF) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_only_threads_are_cloned(machine: str) -> None:
    for flags in THREAD_FLAGS:
        assert asked(machine, "clone", flags) == ALLOW
        assert asked(machine, "clone", flags | HIGH) == REFUSED
        for new in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert asked(machine, "clone", flags | new) == REFUSED
        assert asked(machine, "clone", flags & ~0x10000) == REFUSED
    assert asked(machine, "clone", 17) == REFUSED
    assert asked(machine, "clone3") == NOTHING | ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_opening_says_read_or_write(machine: str) -> None:
    o_trunc, o_creat = 0o1000, 0o100
    for call, place in (("open", 1), ("openat", 2)):
        if call not in ARCHITECTURES[machine].numbers:
            continue
        before = (0,) * place
        for flags in (0, 1, 2, o_trunc | 1, o_trunc | 2, o_creat | o_trunc | 1, o_creat | 2):
            assert asked(machine, call, *before, flags) == ALLOW, oct(flags)
        for flags in (3, o_trunc, o_trunc | 3, o_trunc | o_creat, o_creat | 3):
            assert asked(machine, call, *before, flags) == REFUSED, oct(flags)


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_reach_only_itself(machine: str) -> None:
    for call in ("kill", "tgkill"):
        assert asked(machine, call, PID, PID, 9) == ALLOW
        for pid in (0, 1, -1, -PID, PID + 1, PID | 1 << 31):
            assert asked(machine, call, pid, PID, 9) == REFUSED, pid


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_are_read_not_set(machine: str) -> None:
    assert asked(machine, "prlimit64", 0, 7, 0, 0x7FFF0000) == ALLOW
    for new in (1, HIGH, 0x7FFF00000000):
        assert asked(machine, "prlimit64", 0, 7, new) == REFUSED
    assert asked(machine, "prlimit64", 1234, 7, 0, 0x7FFF0000) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_pairs_have_no_address(machine: str) -> None:
    for kind in (1, 1 | 0o4000, 1 | 0o2000000):
        assert asked(machine, "socketpair", 1, kind) == ALLOW
    for family, kind in ((1, 2), (1, 5), (1, 3), (2, 1), (16, 1), (40, 1), (1, 2 | 0o2000000), (0, 1)):
        assert asked(machine, "socketpair", family, kind) == REFUSED, (family, kind)
    assert asked(machine, "sendto", 5, 0x1000, 3, 0, 0) == ALLOW
    for address in (0x1000, HIGH, 0x7FFF00000000):
        assert asked(machine, "sendto", 5, 0x1000, 3, 0, address) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_commands_are_listed(machine: str) -> None:
    for call, place, listed, otherwise in (
        ("ioctl", 1, IOCTLS, NOTHING | ENOTTY),
        ("fcntl", 1, FCNTLS, REFUSED),
        ("prctl", 0, PRCTLS, REFUSED),
    ):
        before = (0,) * place
        assert {asked(machine, call, *before, value) for value in listed} == {ALLOW}
        others = {*range(2000), *range(0x5400, 0x5480), *range(0x8900, 0x8A00)} - set(listed)
        assert {asked(machine, call, *before, value) for value in others} == {otherwise}


@pytest.mark.parametrize("machine", MACHINES)
def test_modes_and_times_stay_and_nothing_is_flushed(machine: str) -> None:
    for call in ("fchmod", "fchmodat", "fchmodat2", "utimensat", "fsync", "fdatasync"):
        assert asked(machine, call, 3, 0, 0) == NOTHING


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    """Where the kernel's headers are installed; elsewhere their absence is all that is asserted."""
    numbers = ARCHITECTURES[machine].numbers
    assert len(set(numbers.values())) == len(numbers)
    if not Path(header).exists():
        return
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)\n", Path(header).read_text()))
    headers = {name: found.get(name) or found.get(name.removeprefix("new")) for name in numbers}
    known = {name: int(number) for name, number in headers.items() if number is not None}
    assert {name: numbers[name] for name in known} == known
    assert set(numbers) - set(known) <= {"fchmodat2"}  # newer than Debian 12's headers
