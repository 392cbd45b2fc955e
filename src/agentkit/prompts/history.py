"""What was published stays: the lock file, one line a version with the hash of its text.

`prompts.lock` lies beside the prompts, in the repository and in the wheel, so a fresh clone
can tell that the text of version 1 is not what version 1 was. Lines are only ever added.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import Problem

LOCK_FILE = "prompts.lock"

_HEAD = """\
# Versions of prompts that are published: their texts stay as they are.
# Written by 'agentkit prompts lock', which only adds. Checked whenever a prompt is read.
"""
_LINE = re.compile(r"([A-Za-z0-9_/-]+)@([1-9][0-9]{0,8}) sha256:([0-9a-f]{64})")


def fingerprint(template: str) -> str:
    """Return the SHA-256 of a version's text, hexadecimal."""
    return hashlib.sha256(template.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Lock:
    """What is published of the prompts in one folder.

    Attributes:
        file: The lock file; it may not exist.
        versions: Hash of each version's text, by ref and number.
        problems: Lines that could not be understood.
        lines: Line each ref was first found in.
    """

    file: Path
    versions: Mapping[str, Mapping[int, str]] = field(default_factory=dict[str, Mapping[int, str]])
    problems: tuple[Problem, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict[str, int])

    def of(self, ref: str) -> Mapping[int, str]:
        """The published versions of one prompt."""
        return self.versions.get(ref, {})


def read_lock(folder: Path) -> Lock:
    """Read the lock file of a folder; a folder without one has published nothing."""
    file = folder / LOCK_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock(file)
    except (OSError, UnicodeDecodeError) as error:
        return Lock(file, problems=(Problem(f"The lock cannot be read: {error}.", str(file)),))
    versions: dict[str, dict[int, str]] = {}
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            message = "This is no line of a lock: REF@VERSION sha256:HASH. After a merge, keep both sides."
            problems.append(Problem(message, str(file), number, 1, line))
            continue
        ref, version, hashed = found.group(1), int(found.group(2)), found.group(3)
        published = versions.setdefault(ref, {})
        lines.setdefault(ref, number)
        if published.setdefault(version, hashed) != hashed:
            message = f"{ref}@{version} is here twice with different texts: one of them needs another number."
            problems.append(Problem(message, str(file), number, 1, line))
    return Lock(file, versions, tuple(problems), lines)


def write_lock(file: Path, versions: Mapping[str, Mapping[int, str]]) -> None:
    """Write a lock file in one step, sorted by ref and number."""
    lines = [
        f"{ref}@{number} sha256:{hashed}\n"
        for ref, published in sorted(versions.items())
        for number, hashed in sorted(published.items())
    ]
    new = file.with_name(f"{file.name}.new")
    new.write_text(_HEAD + "".join(lines), encoding="utf-8", newline="\n")
    new.replace(file)


def rewritten(
    now: Mapping[int, str], in_use: Mapping[int, str], published: Mapping[int, str]
) -> Iterator[tuple[int, str]]:
    """Yield the number and the fault of every version that is not what it was.

    Args:
        now: Hashes of the versions in the file.
        in_use: Those this process has read before.
        published: Those of the lock.
    """
    new = max([*now, *in_use, *published], default=0) + 1
    for number, hashed in sorted({**in_use, **published}.items()):
        if now.get(number) == hashed:
            continue
        known = f"published ({LOCK_FILE})" if number in published else "in use"
        restart = "" if number in published else ", or restart"
        if number in now:
            fault = f"with another text: put that back and add the new one as version {new}{restart}."
        else:
            fault = f"but gone from the file: put it back{restart}."
        yield number, f"Version {number} is {known} {fault}"
