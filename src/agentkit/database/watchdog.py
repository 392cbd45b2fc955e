"""Stops the embedded PostgreSQL when its last user is gone: `-m agentkit.database.watchdog DIR LOCK`."""

import signal
import sys
from pathlib import Path

from agentkit.database.embedded import EmbeddedPostgres

if __name__ == "__main__":
    # The signals that end a terminal session end its programs; this one goes last.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    EmbeddedPostgres(Path(sys.argv[1])).watch(int(sys.argv[2]))
