"""The system calls sandboxed code may make, with their numbers on x86_64 and aarch64.

What is not here fails with EPERM: among it fork, exec, socket, bind, connect, mknod, link,
mount, ptrace, io_uring, bpf, keyctl, memfd_create, userfaultfd, splice, SysV IPC, inotify,
setuid, capset and every way to name another process. Some of those listed are allowed in
some forms only, or answered without being made: see `bpf`. Numbers: Linux
`arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_X86_64 = """
read=0 write=1 readv=19 writev=20 pread64=17 pwrite64=18 preadv=295 pwritev=296 lseek=8 close=3
close_range=436 fstat=5 stat=4 lstat=6 newfstatat=262 statx=332 access=21 faccessat=269 faccessat2=439
creat=85 readlink=89 readlinkat=267 getcwd=79 chdir=80 fchdir=81 getdents64=217 mkdir=83 mkdirat=258
rmdir=84 unlink=87 unlinkat=263 rename=82 renameat=264 renameat2=316 symlink=88 symlinkat=266
ftruncate=77 fsync=74 fdatasync=75 fallocate=285 dup=32 dup2=33 dup3=292 pipe=22 pipe2=293 umask=95
statfs=137 fstatfs=138 sendfile=40 copy_file_range=326 mmap=9 munmap=11 mprotect=10 mremap=25 madvise=28
brk=12 msync=26 rseq=334 set_robust_list=273
set_tid_address=218 arch_prctl=158 futex=202 futex_waitv=449 sched_yield=24 sched_getaffinity=204
sched_getparam=143 sched_getscheduler=145 getcpu=309 nanosleep=35 clock_nanosleep=230 clock_gettime=228
clock_getres=229 gettimeofday=96 time=201 times=100 getrusage=98 getrlimit=97 sysinfo=99 uname=63 poll=7
ppoll=271 select=23 pselect6=270 epoll_create=213 epoll_create1=291 epoll_ctl=233 epoll_wait=232
epoll_pwait=281 epoll_pwait2=441 eventfd2=290 timerfd_create=283 timerfd_settime=286 timerfd_gettime=287
rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 rt_sigpending=127 rt_sigtimedwait=128
rt_sigsuspend=130 sigaltstack=131 restart_syscall=219 pause=34 alarm=37 setitimer=38 getitimer=36
getpid=39 gettid=186 getppid=110 getuid=102 geteuid=107 getgid=104 getegid=108 getgroups=115
getresuid=118 getresgid=120 getpgrp=111 getpgid=121 getsid=124 getrandom=318 exit=60 exit_group=231
shutdown=48 recvfrom=45 getsockopt=55 getsockname=51 getpeername=52
open=2 openat=257 clone=56 clone3=435 ioctl=16 fcntl=72 socketpair=53 prlimit64=302 prctl=157
kill=62 tgkill=234 sendto=44 chmod=90 fchmod=91 fchmodat=268 fchmodat2=452 utimensat=280
"""

_AARCH64 = """
read=63 write=64 readv=65 writev=66 pread64=67 pwrite64=68 preadv=69 pwritev=70 lseek=62 close=57
close_range=436 fstat=80 newfstatat=79 statx=291 faccessat=48 faccessat2=439 readlinkat=78 getcwd=17
chdir=49 fchdir=50 getdents64=61 mkdirat=34 unlinkat=35 renameat=38 renameat2=276 symlinkat=36
ftruncate=46 fsync=82 fdatasync=83 fallocate=47 dup=23 dup3=24 pipe2=59 umask=166 statfs=43 fstatfs=44
sendfile=71 copy_file_range=285 mmap=222 munmap=215 mprotect=226 mremap=216 madvise=233 brk=214
msync=227 rseq=293 set_robust_list=99 set_tid_address=96
futex=98 futex_waitv=449 sched_yield=124 sched_getaffinity=123 sched_getparam=121 sched_getscheduler=120
getcpu=168 nanosleep=101 clock_nanosleep=115 clock_gettime=113 clock_getres=114 gettimeofday=169
times=153 getrusage=165 getrlimit=163 sysinfo=179 uname=160 ppoll=73 pselect6=72 epoll_create1=20
epoll_ctl=21 epoll_pwait=22 epoll_pwait2=441 eventfd2=19 timerfd_create=85 timerfd_settime=86
timerfd_gettime=87 rt_sigaction=134 rt_sigprocmask=135 rt_sigreturn=139 rt_sigpending=136
rt_sigtimedwait=137 rt_sigsuspend=133 sigaltstack=132 restart_syscall=128 setitimer=103 getitimer=102
getpid=172 gettid=178 getppid=173 getuid=174 geteuid=175 getgid=176 getegid=177 getgroups=158
getresuid=148 getresgid=150 getpgid=155 getsid=156 getrandom=278 exit=93 exit_group=94
shutdown=210 recvfrom=207 getsockopt=209 getsockname=204 getpeername=205
openat=56 clone=220 clone3=435 ioctl=29 fcntl=25 socketpair=199 prlimit64=261 prctl=167
kill=129 tgkill=131 sendto=206 fchmod=52 fchmodat=53 fchmodat2=452 utimensat=88
"""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the filter needs to know of a processor.

    Attributes:
        audit: `AUDIT_ARCH_*` of `linux/audit.h`; a call that reports another one is a foreign ABI.
        numbers: System call numbers by name.
        foreign: Numbers from here on are a second ABI behind the same `audit` (x32), or None.
    """

    audit: int
    numbers: Mapping[str, int]
    foreign: int | None = None


def _table(text: str) -> Mapping[str, int]:
    pairs = (entry.partition("=") for entry in text.split())
    return MappingProxyType({name: int(number) for name, _, number in pairs})


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "x86_64": Architecture(0xC000003E, _table(_X86_64), foreign=0x40000000),
        "aarch64": Architecture(0xC00000B7, _table(_AARCH64)),
    }
)
"""By `platform.machine()`; on any other machine the sandbox refuses."""
