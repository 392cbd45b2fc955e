"""Programs that try to get out of the sandbox, or to hurt the host from inside: `attacks/*.txt`.

A line `### name` starts one. Each is handed, as variables:

    CANARY      path of a file with a secret, readable by all
    OWNED       path of a file of the same user that the sandbox may read; OWNED_DIR, its folder
    PARENT      pid of the supervisor
    VICTIM      pid of another process of the user
    TCP, UDP    ports the host listens on; STREAM, DGRAM, ABSTRACT, its unix sockets
    SHM, SYSV   shared memory with the secret
    HOST_TMP    where the host makes temporary files

and prints BREACH when it sees that it succeeded. The runner looks from outside as well: at
secrets in the output, at the host's files, sockets, processes and signals. Raw system call
numbers are those of x86_64. Written before the sample in `shared/attacks` was looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("attacks")
ROOMS = ("files", "processes", "network", "resources", "leaks")
PRELUDE = (FOLDER / "prelude.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Attack:
    id: str
    code: str


def _read() -> Iterator[Attack]:
    for room in ROOMS:
        text = "\n" + (FOLDER / f"{room}.txt").read_text(encoding="utf-8")
        for block in text.split("\n### ")[1:]:
            name, _, code = block.partition("\n")
            yield Attack(f"{room}: {name}", code)


ATTACKS = tuple(_read())
