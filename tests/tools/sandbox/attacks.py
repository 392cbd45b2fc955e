"""Programs that try to get out of the sandbox, or to hurt the host from inside.

Each one is handed the names in `HANDED` and prints BREACH when it sees that it succeeded; the
runner looks from outside as well: at secrets in the output, at the host's files, sockets,
processes and signals. Raw system call numbers are those of x86_64.
"""

from dataclasses import dataclass

HANDED = """CANARY (a file with the secret, readable by all), OWNED (a file of the same user that the
sandbox may read), OWNED_DIR, PARENT (pid of the supervisor), VICTIM (pid of another process of the
user), TCP, UDP (ports), STREAM, DGRAM (paths of unix sockets), ABSTRACT (name of one), SHM (a POSIX
segment with the secret), SYSV (key of a segment with the secret), HOST_TMP"""

PRELUDE = """
import ctypes, errno, os, sys, struct, time, signal
libc = ctypes.CDLL(None, use_errno=True)
def sc(number, *arguments):
    ctypes.set_errno(0)
    wide = [a if isinstance(a, (bytes, ctypes.Array, type(None))) else ctypes.c_long(a) for a in arguments]
    done = libc.syscall(ctypes.c_long(number), *wide)
    return done if done >= 0 else -ctypes.get_errno()
def breach(*what):
    print("BREACH", *what, flush=True)
def tried(*attempts):
    for attempt in attempts:
        try:
            got = attempt()
        except (OSError, ValueError, ImportError, AttributeError) as error:
            print("refused", type(error).__name__, error)
        else:
            breach(got)
def read(path):
    with open(path, "rb") as file:
        return file.read(4096)
"""


@dataclass(frozen=True)
class Attack:
    id: str
    code: str


def _corpus(text: str) -> list[Attack]:
    attacks = []
    for block in text.split("\n### ")[1:]:
        name, _, code = block.partition("\n")
        attacks.append(Attack(name.strip(), code))
    return attacks


FILES = r"""
### read a host file
tried(lambda: read(CANARY))
### read a host file through a descriptor to its path
fd = os.open(CANARY, os.O_PATH)
tried(lambda: read(f"/proc/self/fd/{fd}"), lambda: os.open("", os.O_RDONLY, dir_fd=fd), lambda: os.pread(fd, 9, 0))
### read a host file through a symbolic link
os.symlink(CANARY, "link")
tried(lambda: read("link"))
### hand out a symbolic link
os.symlink(CANARY, "out.txt")
os.symlink("/etc/passwd", "passwd.txt")
### hand out a hard link
tried(lambda: os.link(CANARY, "out.txt"), lambda: os.link(OWNED, "owned.txt"), lambda: os.link("/etc/ld.so.cache", "c"))
### hand out a pipe
tried(lambda: os.mkfifo("pipe"), lambda: os.mknod("pipe2", 0o010666))
### make a device
tried(lambda: os.mknod("disk", 0o060666, os.makedev(254, 0)), lambda: os.mknod("mem", 0o020666, os.makedev(1, 1)))
### link a host file and write to it
tried(lambda: os.link(OWNED, "hard"))
if os.path.exists("hard"):
    open("hard", "w").write("changed")
### list host folders
for folder in (os.path.dirname(CANARY), HOST_TMP, "/tmp", "/var", "/opt", "/srv", "/boot", "/sys"):
    try: names = os.listdir(folder)
    except OSError as error: print(error); continue
    if not OWNED_DIR.startswith(folder) or os.path.basename(CANARY) in names: breach(folder, names)
### read well-known secrets
for path in ("/etc/passwd", "/etc/shadow", "/root/.bashrc", "/proc/cmdline", "/etc/hostname", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/docker.sock"):
    tried(lambda: read(path))
### write to the host
for path in ("/tmp/evil", "/var/tmp/evil", "/dev/shm/evil", "/run/evil", HOST_TMP + "/evil", "/usr/lib/evil", CANARY, OWNED):
    tried(lambda: open(path, "ab").write(b"evil"))
### plant a module in site-packages
import site, sysconfig
for folder in {*sys.path, sysconfig.get_paths()["stdlib"], OWNED_DIR}:
    tried(lambda: open(folder + "/evil.pth", "w"), lambda: os.mkdir(folder + "/__evil__"))
### truncate by opening read-only
tried(lambda: os.open(OWNED, os.O_RDONLY | os.O_TRUNC))
### truncate by the access mode that is none
tried(lambda: os.open(OWNED, 3 | os.O_TRUNC), lambda: os.open(OWNED, 3))
### truncate by path
tried(lambda: os.truncate(OWNED, 0))
if sc(76, OWNED.encode(), 0) >= 0: breach()
### truncate through creat
if sc(85, OWNED.encode(), 0o666) >= 0: breach()
### change the mode of an owned file
os.chmod(OWNED, 0o777)
### change the mode through a read-only descriptor
fd = os.open(OWNED, os.O_RDONLY)
os.fchmod(fd, 0o4777)
### change the mode by the newer call
print(sc(452, -100, OWNED.encode(), 0o777, 0), sc(268, -100, OWNED.encode(), 0o777))
### change the times of an owned file
os.utime(OWNED, (0, 0))
### change the times through a read-only descriptor
fd = os.open(OWNED, os.O_RDONLY)
os.utime(fd, (0, 0))
print(sc(280, fd, None, None, 0), sc(132, OWNED.encode(), None), sc(235, OWNED.encode(), None), sc(261, -100, OWNED.encode(), None))
### set attributes of an owned file
fd = os.open(OWNED, os.O_RDONLY)
tried(lambda: os.setxattr(OWNED, "user.evil", b"x"), lambda: os.setxattr(fd, "user.evil", b"x"), lambda: os.removexattr(fd, "user.kept"))
### set inode flags of an owned file
import fcntl
fd = os.open(OWNED, os.O_RDONLY)
tried(lambda: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10)), lambda: fcntl.ioctl(fd, 0x401C5820, bytes(28)))
### change the owner
fd = os.open(OWNED, os.O_RDONLY)
tried(lambda: os.chown(OWNED, os.getuid(), os.getgid()), lambda: os.fchown(fd, os.getuid(), os.getgid()), lambda: os.lchown(OWNED, -1, -1))
### move an owned file away
tried(lambda: os.rename(OWNED, "mine"), lambda: os.rename("mine", OWNED), lambda: os.unlink(OWNED), lambda: os.rmdir(OWNED_DIR))
### swap an owned file
open("mine", "w").write("evil")
if sc(316, -100, b"mine", -100, OWNED.encode(), 2) >= 0: breach()
if sc(316, -100, OWNED.encode(), -100, b"mine", 2) >= 0: breach()
### lock an owned file against its owner
import fcntl
fd = os.open(OWNED, os.O_RDONLY)
tried(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.fcntl(fd, 1024, 1))
### write through a shared mapping
import mmap
fd = os.open(OWNED, os.O_RDONLY)
tried(lambda: mmap.mmap(fd, 4, mmap.MAP_SHARED, mmap.PROT_WRITE))
m = mmap.mmap(fd, 4, mmap.MAP_SHARED, mmap.PROT_READ)
### make a read-only mapping writable
import mmap
fd = os.open(OWNED, os.O_RDONLY)
libc.mmap.restype = ctypes.c_void_p
address = libc.mmap(None, 4096, 1, 1, fd, ctypes.c_long(0))
if libc.mprotect(ctypes.c_void_p(address), 4096, 3) == 0: breach()
### watch the host's files
if sc(294, 0) >= 0 or sc(253) >= 0: breach("inotify")
if sc(300, 0, 0) >= 0: breach("fanotify")
import fcntl
fd = os.open(OWNED_DIR, os.O_RDONLY)
tried(lambda: fcntl.fcntl(fd, 1026, 0x80000002))
### open by file handle
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
mount = ctypes.create_string_buffer(8)
if sc(303, -100, b"/", handle, mount, 0) >= 0: breach("handle")
for inode in range(2, 200):
    h = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, inode, 0))
    fd = sc(304, os.open(".", os.O_RDONLY), h, 0)
    if fd >= 0: breach(os.listdir(fd)); break
    os.closerange(4, 10)
### open by openat2
how = ctypes.create_string_buffer(struct.pack("QQQ", 0, 0, 0), 24)
fd = sc(437, -100, CANARY.encode(), how, 24)
if fd >= 0: breach(os.read(fd, 99))
### climb from a folder descriptor
root = os.open("/", os.O_PATH)
tried(lambda: os.read(os.open(CANARY[1:], os.O_RDONLY, dir_fd=root), 99), lambda: os.read(os.open("../../.." + CANARY, os.O_RDONLY), 99))
os.chdir("/")
tried(lambda: read(CANARY[1:]))
os.fchdir(root)
tried(lambda: read(CANARY[1:]))
### chroot and climb
tried(lambda: os.chroot("."), lambda: os.chroot("/"))
if sc(155, b".", b".") >= 0: breach("pivot_root")
### through proc
for pid in ("self", "1", PARENT, VICTIM, os.getppid(), "thread-self"):
    for what in ("root" + CANARY, "cwd/" + os.path.basename(CANARY), "environ", "mem", "maps", "cmdline", "fd/0", "stat", "mountinfo"):
        if (pid, what) in (("self", "fd/0"), ("thread-self", "fd/0")): continue  # /dev/null
        tried(lambda: read(f"/proc/{pid}/{what}"))
### read the links of proc
for pid in (1, PARENT, VICTIM):
    for what in ("exe", "cwd", "root", "fd/0", "ns/net"):
        tried(lambda: os.readlink(f"/proc/{pid}/{what}"))
### list processes
tried(lambda: os.listdir("/proc"), lambda: os.listdir(f"/proc/{PARENT}/fd"), lambda: os.listdir(f"/proc/{PARENT}/task"))
### kernel knobs
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/cgroup.procs", "/proc/self/oom_score_adj", "/proc/self/uid_map"):
    tried(lambda: open(path, "w").write("x"))
### raw devices
for path in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0", "/dev/kvm", "/dev/fuse", "/dev/tty", "/dev/ptmx", "/dev/kmsg", "/dev/net/tun", "/dev/userfaultfd", "/dev/loop-control"):
    tried(lambda: os.open(path, os.O_RDONLY), lambda: os.open(path, os.O_RDWR))
### shared memory of the host
tried(lambda: read("/dev/shm/" + SHM), lambda: os.listdir("/dev/shm"))
from multiprocessing import shared_memory
tried(lambda: shared_memory.SharedMemory(name=SHM).buf.tobytes(), lambda: shared_memory.SharedMemory(create=True, size=9))
### system V shared memory
at = sc(29, SYSV, 64, 0o666)
if at >= 0: breach("shmget"); libc.shmat.restype = ctypes.c_void_p; print(ctypes.string_at(libc.shmat(at, None, 0), 64))
for identifier in range(0, 100):
    if sc(30, identifier, 0, 0) >= 0: breach("shmat")
### mount a view of the host
os.mkdir("m")
for arguments in ((b"/", b"m", None, 4096, None), (b"proc", b"m", b"proc", 0, None), (b"none", b"/", None, 1 << 18, None), (b"tmpfs", b"m", b"tmpfs", 0, None), (b"o", b"m", b"overlay", 0, b"lowerdir=/"), (None, b"/usr", None, 32 | 4096, None)):
    if sc(165, *arguments) >= 0: breach(arguments)
### unmount the walls
here = os.getcwd().encode()
for path in (here, b"/usr/lib", b"/", b"/dev/null", b"/dev"):
    if sc(166, path, 2) >= 0: breach(path)
### the newer mount calls
for number in (428, 429, 430, 431, 432, 433, 442):
    if sc(number, -100, b"/", 1, 0, 0) >= 0: breach(number)
### copy out in the kernel
fd = os.open(CANARY, os.O_PATH)
out = os.open("out.txt", os.O_RDWR | os.O_CREAT)
tried(lambda: os.sendfile(out, fd, 0, 99), lambda: os.copy_file_range(fd, out, 99), lambda: os.splice(fd, out, 99))
### swap the result while it is collected
import threading
def swap():
    while True:
        try:
            os.symlink(CANARY, "t"); os.rename("t", "out.txt")
            open("u", "w").write("fine"); os.rename("u", "out.txt")
        except OSError: pass
threading.Thread(target=swap, daemon=True).start()
time.sleep(0.05)
### grow the result while it is collected
import threading
def grow():
    while True:
        try:
            with open("grow.bin", "ab") as f: f.write(b"x" * 65536)
        except OSError: pass
threading.Thread(target=grow, daemon=True).start()
time.sleep(0.02)
### swap a folder for a link while it is measured
import threading
os.mkdir("d")
def swap():
    while True:
        try:
            os.rename("d", "e"); os.symlink("/", "d"); os.unlink("d"); os.rename("e", "d")
        except OSError: pass
threading.Thread(target=swap, daemon=True).start()
time.sleep(0.4)
### move the work directory
here = os.getcwd()
tried(lambda: os.rename(here, here + "-moved"), lambda: os.rmdir(here), lambda: os.rename(here, HOST_TMP + "/x"))
### leave names nobody wants
for name in ("\n", "a\nb", "-rf", "\u202egnp.exe", "x" * 255, "~", "*", "$(id)", "\x1b[2J"):
    open(name, "w").write("x")
open(b"\xff\xfe", "w").write("x")
"""

PROCESSES = r"""
### fork
tried(os.fork, os.forkpty)
### vfork and clone by number
for number in (57, 58):
    if sc(number) >= 0: breach(number)
for flags in (17, 0, 0x4000 | 17, 0x100 | 17, 0x10000, 0x100 | 0x800 | 0x10000 | 17, 0x80000000, 0x8000 | 17):
    if sc(56, flags, 0, 0, 0, 0) >= 0: os._exit(9)
### clone with high bits set
if sc(56, 0x1003D0F00, 0, 0, 0, 0) >= 0: breach()
### a thread in namespaces of its own
for new in (0x10000000, 0x20000000, 0x40000000, 0x20000, 0x4000000, 0x8000000, 0x2000000):
    if sc(56, 0x3D0F00 | new, 0, 0, 0, 0) >= 0: breach(hex(new))
### clone3
arguments = ctypes.create_string_buffer(struct.pack("Q" * 11, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
if sc(435, arguments, 88) >= 0: breach()
### programs
import subprocess
tried(lambda: subprocess.run(["/bin/true"]), lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: os.execv("/bin/sh", ["sh"]), lambda: os.execv(sys.executable, ["python"]), lambda: os.popen("id"))
if os.system("true") == 0: breach("system")
### multiprocessing
import multiprocessing as mp
for method in ("fork", "spawn", "forkserver"):
    tried(lambda: mp.get_context(method).Process(target=print).start())
### run a file from memory
fd = sc(319, b"x", 0)
if fd >= 0: breach("memfd_create")
fd = sc(447, 0)
if fd >= 0: breach("memfd_secret")
### run a written file
with open("p", "wb") as f: f.write(b"\x7fELF" + bytes(200))
print(sc(59, b"./p", None, None), sc(322, -100, b"p", None, None, 0))
if sc(322, os.open("p", os.O_PATH), b"", None, None, 0x1000) >= 0: breach()
### load a written library
import shutil
with open("p.so", "wb") as f: f.write(b"\x7fELF" + bytes(200))
tried(lambda: ctypes.CDLL("./p.so"))
### code for the old 32-bit gate
import mmap
m = mmap.mmap(-1, 4096, prot=7)
m.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid by int 0x80
ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
breach("int 0x80 came back")
### the x32 numbers
sc(0x40000000 + 39)
breach("x32 came back")
### negative and huge numbers
for number in (-1, 1 << 31, 0xFFFFFFFF, 5000, 1023):
    if number < 0x40000000 and sc(number) >= 0: breach(number)
sc(0xFFFFFFFF)
### signal the supervisor
for number in (0, 1, 2, 9, 10, 12, 15, 19, 29):
    for pid in (PARENT, VICTIM, os.getppid(), 1, -1, -PARENT, -VICTIM):
        if pid in (0, os.getpid()): continue
        try: os.kill(pid, number)
        except OSError: continue
        breach(pid, number)
### signal the group
for number in (10, 12):
    try: os.kill(0, number)
    except OSError: continue
    breach("group")
### signal threads of others
for pid in (PARENT, VICTIM, os.getppid()):
    for number in (200, 129, 234, 297):
        if sc(number, *((pid, 10) if number == 200 else (pid, 10, bytes(128)) if number == 129 else (pid, pid, 10) if number == 234 else (pid, pid, 10, bytes(128)))) >= 0: breach(number)
### signal by descriptor
for pid in (PARENT, VICTIM, os.getppid()):
    fd = sc(434, pid, 0)
    if fd >= 0: breach("pidfd_open"); sc(424, fd, 10, None, 0); sc(438, fd, 0, 0)
    if sc(424, 0, 10, None, 0) >= 0: breach("pidfd_send_signal")
### signal by owning a pipe
import fcntl
for pid in (PARENT, VICTIM):
    r, w = os.pipe()
    for command, argument in ((8, pid), (10, 10), (15, struct.pack("ii", 1, pid)), (4, 0o20000 | 0o4000)):
        try: fcntl.fcntl(r, command, argument); print(command, "done")
        except OSError as error: print(command, error)
    os.write(w, b"x")
### signal by owning a socket
import fcntl, socket
a, b = socket.socketpair()
for pid in (PARENT, VICTIM):
    for request in (0x8901, 0x8902):
        tried(lambda: fcntl.ioctl(a, request, struct.pack("i", pid)))
    tried(lambda: fcntl.fcntl(a, 8, pid), lambda: fcntl.fcntl(a, 10, 9))
fcntl.fcntl(a, 4, 0o20000)
b.send(b"x")
### signal by timer
event = ctypes.create_string_buffer(struct.pack("Qii", 0, 10, 4) + struct.pack("i", PARENT) + bytes(64))
if sc(222, 1, event, ctypes.create_string_buffer(8)) >= 0: breach()
if sc(244, 0, event) >= 0: breach()
### trace the supervisor
for pid in (PARENT, VICTIM, os.getppid()):
    for request in (16, 0x4206, 2):
        if sc(101, request, pid, 0, 0) >= 0: breach(request)
if sc(101, 0, 0, 0, 0) >= 0: breach("traceme")
### read the supervisor's memory
local = ctypes.create_string_buffer(64)
vector = struct.pack("QQ", ctypes.addressof(local), 64)
for pid in (PARENT, VICTIM, os.getppid()):
    if sc(310, pid, vector, 1, struct.pack("QQ", 0x400000, 64), 1, 0) >= 0: breach("read")
    if sc(311, pid, vector, 1, struct.pack("QQ", 0x400000, 64), 1, 0) >= 0: breach("write")
    if sc(312, pid, os.getpid(), 0, 0, 0) >= 0: breach("kcmp")
### the supervisor's limits and priority
import resource
for pid in (PARENT, VICTIM):
    tried(lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)), lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE), lambda: os.setpriority(os.PRIO_PROCESS, pid, 19), lambda: os.sched_setaffinity(pid, {0}), lambda: os.sched_setscheduler(pid, 3, os.sched_param(0)))
    if sc(251, 1, pid, 0x6000) >= 0: breach("ioprio")
### lift the limits
import resource
for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
    tried(lambda: resource.setrlimit(kind, (-1, -1)))
    soft, hard = resource.getrlimit(kind)
    if soft == -1 or hard == -1: breach(kind)
### take the filter off
for option, value in ((22, 0), (22, 1), (38, 0), (4, 1), (1, 0), (36, 1), (8, 1), (47, 2), (24, 0), (35, 1), (0x59616D61, -1), (28, 0)):
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) >= 0: breach(option)
if sc(317, 1, 0, None) >= 0: breach("seccomp")
### outlive the supervisor
if libc.prctl(1, 0, 0, 0, 0) == 0: breach("parent death signal removed")
if sc(112) >= 0: breach("setsid")
if sc(109, 0, 0) >= 0: breach("setpgid")
### become somebody else
tried(lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0]), lambda: os.setgid(0), lambda: os.setuid(65534))
for number in (122, 123):
    sc(number, 0)
if sc(126, struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1 << 21, 1 << 21, 0, 0, 0, 0)) >= 0: breach("capset")
### namespaces
for new in (0x10000000, 0x20000000, 0x40000000, 0x20000, 0x4000000, 0x8000000, 0x2000000, 0x80, 0x200, 0x400):
    if sc(272, new) >= 0: breach(hex(new))
for fd in range(0, 8):
    if sc(308, fd, 0) >= 0: breach("setns")
### keyrings
for arguments in ((248, b"user", b"evil", b"x", 1, -4), (249, b"user", b"agentkit-secret", None, -4), (250, 10, -4, b"user", b"agentkit-secret", 0), (250, 0, -4, 1), (250, 1, b"evil"), (250, 11, -3, bytes(64), 64)):
    if sc(*arguments) >= 0: breach(arguments)
### io_uring
parameters = ctypes.create_string_buffer(120)
for number in (425, 426, 427):
    if sc(number, 8, parameters, 0, 0, 0, 0) >= 0: breach(number)
### kernel attack surface
calls = dict(bpf=321, perf_event_open=298, userfaultfd=323, add_key=248, kexec_load=246, kexec_file_load=320, init_module=175, finit_module=313, delete_module=176, modify_ldt=154, personality=135, iopl=172, ioperm=173, swapon=167, swapoff=168, reboot=169, sethostname=170, setdomainname=171, acct=163, quotactl=179, settimeofday=164, clock_settime=227, adjtimex=159, clock_adjtime=305, syslog=103, vhangup=153, mbind=237, set_mempolicy=238, migrate_pages=256, move_pages=279, mlock=149, mlockall=151, mlock2=325, remap_file_pages=216, vmsplice=278, splice=275, tee=276, semget=64, msgget=68, mq_open=240, io_setup=206, signalfd4=289, pkey_alloc=330, process_madvise=440, process_mrelease=448, landlock_create_ruleset=444, set_mempolicy_home_node=450, cachestat=451, map_shadow_stack=453, ustat=136, sysfs=139, _sysctl=156, uselib=134, getxattr=191, setxattr=188, listxattr=194, sync=162, syncfs=306, chroot=161, pivot_root=155, statmount=457, listmount=458, lsm_get_self_attr=459, mseal=462, mount=165)
for name, number in calls.items():
    got = sc(number, 0, 0, 0, 0, 0, 0)
    if got not in (-errno.EPERM, -errno.ENOSYS): breach(name, got)
### stop itself
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)
### ignore every signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass
### stay as a daemon thread
import threading
def stay():
    while True: time.sleep(0.01)
threading.Thread(target=stay, daemon=True).start()
### stay as a thread that is no daemon
import threading
def stay():
    while True: time.sleep(0.01)
threading.Thread(target=stay).start()
### crash
ctypes.string_at(0)
### abort
os.abort()
### overflow the C stack
sys.setrecursionlimit(10**9)
def f(): f()
f()
"""

NETWORK = r"""
### connect to the host
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", TCP)), (socket.AF_INET6, ("::1", TCP)), (socket.AF_UNIX, STREAM), (socket.AF_UNIX, "\0" + ABSTRACT)):
    def go():
        s = socket.socket(family); s.connect(address); s.send(b"out")
    tried(go)
### send a datagram
import socket
def go(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", ("127.0.0.1", UDP))
def unix(): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"out", DGRAM)
tried(go, unix)
### every family
for family in range(0, 46):
    for kind in (1, 2, 3, 5):
        if sc(41, family, kind, 0) >= 0: breach(family, kind)
### the odd families
for family, kind, protocol in ((16, 3, 0), (16, 3, 9), (38, 5, 0), (40, 1, 0), (17, 3, 0x300), (2, 3, 1), (31, 3, 1), (44, 3, 0), (45, 1, 0), (29, 3, 1)):
    if sc(41, family, kind, protocol) >= 0: breach(family)
### name a datagram pair's addressee
import socket
def path():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendto(b"out", DGRAM)
def abstract():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendto(b"out", "\0" + ABSTRACT)
tried(path, abstract)
### a pair of another kind
import socket
for kind in (2, 3, 5, 2 | 0o4000, 5 | 0o2000000):
    if sc(53, 1, kind, 0, ctypes.create_string_buffer(8)) >= 0: breach(kind)
for family in (2, 10, 16, 30, 40):
    if sc(53, family, 1, 0, ctypes.create_string_buffer(8)) >= 0: breach(family)
### reuse a stream pair
import socket
a, b = socket.socketpair()
tried(lambda: a.connect(STREAM), lambda: a.bind("\0evil"), lambda: a.listen(), lambda: a.sendto(b"out", DGRAM), lambda: a.sendmsg([b"x"], [], 0, DGRAM), lambda: a.accept())
### pass a descriptor
import socket, array
a, b = socket.socketpair()
tried(lambda: a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]))
### attach a filter to a pair
import socket
a, b = socket.socketpair()
tried(lambda: a.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", 1, 0)), lambda: a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30))
### look up a name
import socket
tried(lambda: socket.getaddrinfo("localhost.example", 80) and socket.create_connection(("127.0.0.1", TCP)))
### fetch a page
import urllib.request
tried(lambda: urllib.request.urlopen(f"http://127.0.0.1:{TCP}/", timeout=1).read())
### inherited descriptors
import stat
for fd in range(0, 2000):
    try: mode = os.fstat(fd).st_mode
    except OSError: continue
    if stat.S_ISSOCK(mode) and fd > 3 or stat.S_ISDIR(mode) or stat.S_ISREG(mode): breach(fd, oct(mode))
    if fd > 3: print("more than expected:", fd, oct(mode))
### type into the terminal
import fcntl
for fd in (0, 1, 2):
    for request in (0x5412, 0x5423, 0x541C, 0x540E):
        tried(lambda: fcntl.ioctl(fd, request, b"x"))
"""

RESOURCES = r"""
### memory
x = bytearray(4 << 30)
breach("4 GiB")
### memory in pieces
keep = []
try:
    while True: keep.append(bytearray(1 << 20))
except MemoryError:
    if len(keep) > 600: breach(len(keep))
    del keep
    raise
### memory by mappings
import mmap
keep = []
try:
    while True:
        keep.append(mmap.mmap(-1, 16 << 20)); keep[-1][::4096] = b"x" * 4096
except (OSError, ValueError, MemoryError): pass
if len(keep) > 40: breach(len(keep))
### memory of the kernel in pipes
import fcntl
n = 0
try:
    while True:
        r, w = os.pipe(); os.set_blocking(w, False)
        try: fcntl.fcntl(w, 1031, 1 << 20); breach("pipe size")
        except OSError: pass
        try:
            while True: n += os.write(w, b"x" * 65536)
        except BlockingIOError: pass
except OSError: pass
if n > 16 << 20: breach(n)
### memory of the kernel in sockets
import socket
keep = []; n = 0
try:
    while True:
        a, b = socket.socketpair(); a.setblocking(False); keep.append((a, b))
        try:
            while True: n += a.send(b"x" * 65536)
        except BlockingIOError: pass
except OSError: pass
if n > 64 << 20: breach(n)
### one huge number
x = 1 << (1 << 40)
### threads
import threading
threading.stack_size(32768)
n = 0
try:
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); n += 1
except RuntimeError: pass
if n > 200: breach(n)
### threads by number
n = 0
stacks = []
for _ in range(3000):
    stack = ctypes.create_string_buffer(16384); stacks.append(stack)
    if n > 400: breach(n); break
    import _thread
    try: _thread.start_new_thread(time.sleep, (60,)); n += 1
    except RuntimeError: break
### descriptors
n = 0
try:
    while True: os.dup(0); n += 1
except OSError: pass
if n > 200: breach(n)
### fill the disk with one file
with open("big", "wb") as f:
    while True: f.write(b"x" * (1 << 20))
### fill the disk with many files
for n in range(100000):
    with open(f"f{n}", "wb") as f: f.write(b"x" * (1 << 20))
### fill the disk with files without names
n = 0
keep = []
while True:
    f = open("u", "wb"); os.unlink("u"); keep.append(f)
    for _ in range(64): f.write(b"x" * (1 << 20)); n += 1; f.flush()
    if n > 600: breach(n); break
### fill the disk with O_TMPFILE
keep = []; n = 0
while True:
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR); keep.append(fd)
    for _ in range(64): os.write(fd, b"x" * (1 << 20)); n += 1
    if n > 600: breach(n); break
### fill the disk by allocation
for n in range(1000):
    fd = os.open(f"a{n}", os.O_CREAT | os.O_RDWR); os.posix_fallocate(fd, 0, 15 << 20); os.close(fd)
### a sparse giant
with open("sparse", "wb") as f: f.truncate(1 << 50)
breach("a petabyte")
### too many names
for n in range(200000): open(f"n{n}", "w").close()
breach("200000 files")
### too many folders
for n in range(200000): os.mkdir(f"d{n}")
breach("200000 folders")
### too many links
for n in range(200000): os.symlink("x" * 3000, f"l{n}")
breach("200000 links")
### folders deeper than a path
for n in range(20000):
    os.mkdir("d"); os.chdir("d")
    if n == 500:
        with open("hidden", "wb") as f: f.write(b"x" * (10 << 20))
breach("20000 levels")
### folders without permissions
for n in range(20): os.mkdir(f"d{n}", 0); os.mkdir(f"e{n}"); os.mkdir(f"e{n}/f", 0o700); open(f"e{n}/f/g", "w").close()
### spin
while True: pass
### spin in C
7 ** (10 ** 9)
### spin in a regular expression
import re
re.match(r"(a+)+$", "a" * 50 + "b")
### spin in every thread
import threading
def spin():
    while True: pass
for _ in range(20): threading.Thread(target=spin, daemon=True).start()
spin()
### sleep
time.sleep(3600)
### wait for input
print(repr(sys.stdin.read()))
input()
### flood standard output
while True: print("x" * 10000)
### flood standard error
while True: os.write(2, b"x" * 65536)
### flood the result pipe
while True: os.write(3, b"x" * 65536)
### flood in one line
os.write(1, b"\xff" * (50 << 20))
### close everything and stay
os.closerange(0, 100)
time.sleep(3600)
### a source too deep
exec("(" * 100000)
### a source that explodes
eval("+".join(["1"] * 500000))
### a traceback without end
def f(n):
    try: 1 / 0
    except Exception as e:
        if n: f(n - 1)
        raise ValueError("x" * 100000) from e
f(300)
### an exception that will not be shown
class E(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
raise E
### an exit status of another kind
class X(int): pass
raise SystemExit("x" * 200000)
### terminal control and directions
print("\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202eevil\u2066\u200b\U000E0041\x00\x9b31m\x08\r")
"""

LEAKS = r"""
### environment
print(dict(os.environ))
libc.getenv.restype = ctypes.c_char_p
print(libc.getenv(b"AGENTKIT_NONCE"))
### the environment on the first stack
start = ctypes.c_void_p.in_dll(libc, "program_invocation_name").value
first = ctypes.string_at(start, (start | 0xFFF) + 1 - start)
print(first)
### the frames above
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_globals.items()) + list(frame.f_locals.items()):
        if name not in ("PRELUDE",) and "stage2" not in name: print(name, repr(value)[:150])
    frame = frame.f_back
### everything the interpreter holds
import gc
for thing in gc.get_objects():
    if isinstance(thing, dict):
        for key, value in list(thing.items()):
            if isinstance(value, str) and "sys._getframe" not in value and "def breach" not in value: print(value[:100])
### arguments
print(sys.argv, sys.orig_argv)
### host name and users
import socket, getpass
tried(lambda: os.getlogin())
### forged frames
def frame(kind, name=b"", data=b""): os.write(3, kind + struct.pack(">HI", len(name), len(data)) + name + data)
for name in (b"../evil", b"/tmp/evil", b"..", b".", b"", b"a/b", b"a\0b", b"\x1b[2J", b"x" * 300, b"ok.txt", b"ok.txt"):
    frame(b"F", name, b"forged")
frame(b"S"); frame(b"X", b"", b"forged failure"); frame(b"E", b"", b"ok"); frame(b"Z", b"q", b"q")
os._exit(7)
### a frame longer than it is
os.write(3, b"F" + struct.pack(">HI", 4, 0xFFFFFFF0) + b"name")
os._exit(0)
### more files than are taken
def frame(kind, name=b"", data=b""): os.write(3, kind + struct.pack(">HI", len(name), len(data)) + name + data)
for n in range(5000): frame(b"F", b"n%d" % n, b"x")
for n in range(50): frame(b"F", b"big%d" % n, b"x" * 100000)
os._exit(0)
### say ok and fail
os.write(3, b"E" + struct.pack(">HI", 0, 2) + b"ok")
os.kill(os.getpid(), 9)
"""

ATTACKS = tuple(
    Attack(f"{room}: {attack.id}", attack.code)
    for room, text in (
        ("files", FILES),
        ("processes", PROCESSES),
        ("network", NETWORK),
        ("resources", RESOURCES),
        ("leaks", LEAKS),
    )
    for attack in _corpus(text)
)
