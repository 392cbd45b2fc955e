"""Our blueprints, mutated: each loads, or is refused with problems that all have a place.

For a long run: `python tests/blueprints/test_fuzz.py SECONDS`; it prints the seed of what fails.
"""

import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit.blueprints import load
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptManager

ROOT = Path(__file__).parents[2]
PROMPTS = PromptManager(ROOT / "prompts")
BROKEN = Path(__file__).parent / "broken"
SEEDS = [
    ROOT / "blueprints" / "devassist",
    *(path.parent for path in sorted(BROKEN.glob("*/blueprint.yaml"))),
]
RAN = "/tmp/agentkit-fuzz-ran"
CODE = f"!!python/object/apply:os.system ['touch {RAN}']"
SCALARS = [
    "", "~", "true", "no", "0", "-1", "9" * 400, "1e999", ".nan", "1_000", "0x1F", "''", '"', "'", "[", "]",
    "{", "}", "{}", "[]", "[[]]", "{a: {b: c}}", "*a", "&a", "&a [*a]", "<<: *a", CODE, "!x", "|", ">",
    "%YAML 9.9", "@", "`", "---", "...", "# x", "? x", ": x", "- x", "x: y: z", "null: null", "^2", ">=1,<2",
    "${", "${}", "${env:HOME}", "${env:NOPE}", "${param:nope}", "${secret:NOPE}", "$${x}",
    "${param:provider}", "../" * 9, "/etc/passwd", "a\\0b", "\u202e", "é", "\U0001f600" * 9, "\x85", "\u2028",
    "\ufeff", "\x00", "\x1b", "\U0001d7db", "²", "a" * 3000, "None", "2026-11-24", "12:30", "'pip' in text",
    "__import__('os')", "blueprint.yaml", "agents/python", "supervisor", "main", "\t", "\r", "\r\n", " ",
]  # fmt: skip


def lines_changed(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    line = lines[at]
    match rng.randrange(10):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, line)
        case 2:
            lines[at], lines[other] = lines[other], line
        case 3:
            lines[at] = rng.choice([" ", "  ", "\t", "    "]) + line
        case 4:
            lines[at] = line[rng.randrange(1, 5) :]
        case 5:
            lines[at] = line.partition(":")[0] + ": " + rng.choice(SCALARS)
        case 6:
            lines.insert(at, rng.choice(SCALARS))
        case 7:
            lines[at] = line.replace(":", rng.choice(["", "::", " : ", ": &a", ": *a", ": !!int"]), 1)
        case 8:
            lines = lines[: at + 1]
        case _:
            lines[at : at + 1] = [line, *lines[other : other + rng.randrange(1, 30)]]
    return "\n".join(lines)


def characters_changed(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    match rng.randrange(3):
        case 0:
            return text[:at] + rng.choice(SCALARS) + text[at:]
        case 1:
            return text[:at] + text[at + rng.randrange(1, 9) :]
        case _:
            return text[:at] + rng.choice("[]{}:,#&*!|>'\"%@`-? \n\t") + text[at + 1 :]


def mutated(rng: random.Random, folder: Path) -> Path:
    """A copy of one of our blueprints in `folder`, with a few things changed."""
    source = rng.choice([SEEDS[0], rng.choice(SEEDS)])
    target = folder / "blueprints" / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("expected.txt", "*.md"))
    (folder / "docs").mkdir()
    files = sorted(target.rglob("*.yaml"))
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        file = rng.choice(files)
        change = rng.choice([lines_changed, lines_changed, characters_changed])
        text = change(rng, file.read_bytes().decode("utf-8", "surrogatepass"))
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return target


@contextmanager
def no_hang() -> Iterator[None]:
    """Raise where the loader is, should it not come back."""

    def hangs(*_: object) -> None:
        raise AssertionError("the loader hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_one(seed: int) -> bool:
    """Load the blueprint of this seed; returns whether it was refused."""
    with tempfile.TemporaryDirectory() as folder, no_hang():
        path = mutated(random.Random(seed), Path(folder))
        try:
            loaded = load(path, prompts=PROMPTS, providers=["ollama", "openai"], tools=["search"], env={})
        except BlueprintError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.message.strip(), problem
                assert problem.file.startswith((folder, str(ROOT))), problem
                # Only a file as a whole (unreadable, misnamed, too large) has no line.
                assert problem.line or "file" in problem.message, problem
                assert str(problem)
            return True
        assert loaded.spec.agents
        assert all(str(warning) for warning in loaded.warnings)
        return False


@given(st.integers(0, 2**63))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_a_mutated_blueprint_loads_or_is_refused_with_places(seed):
    try_one(seed)
    assert not Path(RAN).exists()


def test_mutations_do_break_blueprints():
    assert 5 < sum(try_one(seed) for seed in range(25)) < 25


if __name__ == "__main__":
    ends, number, refusals = time.monotonic() + float(sys.argv[1]), random.randrange(2**60), 0
    count = 0
    while time.monotonic() < ends:
        try:
            refusals += try_one(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, its seed is wanted
            sys.stdout.write(f"seed {number}: {type(error).__name__}: {str(error)[:600]}\n")
        number += 1
        count += 1
    sys.stdout.write(f"{count} tried, {refusals} refused; code was run: {Path(RAN).exists()}\n")
