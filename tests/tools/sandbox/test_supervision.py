"""Nothing is left behind, nothing waits for ever, and nothing is given away on the way in."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import SandboxError
from agentkit.tools.sandbox import SANDBOXES, Limits, Sandbox, supervisor
from agentkit.tools.sandbox.supervisor import clean

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux")


@pytest.fixture(params=["bubblewrap", "landlock"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where work directories are made: a folder of this test alone, that any user may pass."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test-"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    folder.rmdir()


def make(backend: str, **options: Any) -> Sandbox:
    limits = Limits(**{name: options.pop(name) for name in list(options) if name != "parallel"})
    return SANDBOXES.get(backend)(limits=limits, **options)


async def gone(pids: set[int]) -> bool:
    """Whether all these processes end; the kernel may take a moment to come round to it."""
    for _ in range(200):
        if not any(Path(f"/proc/{pid}/exe").exists() for pid in pids if state(pid) != "Z"):
            return True
        await asyncio.sleep(0.05)
    return False


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def descendants(of: int) -> set[int]:
    """Everything below a process."""
    found: set[int] = set()
    todo = [of]
    while todo:
        pid = todo.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                children = {int(child) for child in task.read_text().split()}
            except OSError:
                continue
            todo += children - found
            found |= children
    return found


async def started(of: int, before: set[int], depth: int) -> set[int]:
    """Wait until a sandbox with `depth` processes runs below `of`."""
    for _ in range(400):
        new = descendants(of) - before
        if len(new) >= depth:
            return new
        await asyncio.sleep(0.01)
    raise AssertionError("no sandbox was started")


async def test_cancelling_leaves_no_process_and_no_file(backend: str, place: Path) -> None:
    sandbox = make(backend, seconds=60.0)
    await asyncio.to_thread(sandbox.ensure_available)
    before = descendants(os.getpid())
    code = "import threading, time\nopen('f', 'w').write('x')\nwhile True: time.sleep(1)"
    task = asyncio.create_task(sandbox.run(code))
    pids = await started(os.getpid(), before, 3 if backend == "bubblewrap" else 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pids)
    assert list(place.iterdir()) == []


async def test_cancelling_again_and_again_changes_nothing(backend: str, place: Path) -> None:
    sandbox = make(backend, seconds=60.0)
    await asyncio.to_thread(sandbox.ensure_available)
    before = descendants(os.getpid())
    for pause in (0, 0, 0.001, 0.01, 0.03, 0.06, 0.1, 0.2):
        task = asyncio.create_task(sandbox.run("while True: pass"))
        await asyncio.sleep(pause)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await gone(descendants(os.getpid()) - before)
    assert (await sandbox.run("1")).stdout == "1\n"


@pytest.mark.parametrize("met", ["timeout", "output"])
async def test_a_limit_leaves_no_process(backend: str, met: str, place: Path) -> None:
    sandbox = make(backend, seconds=1.0)
    await asyncio.to_thread(sandbox.ensure_available)
    before = descendants(os.getpid())
    loop = "pass" if met == "timeout" else "print('x' * 10000)"
    result = await sandbox.run(f"while True: {loop}")
    assert result.exit == met
    assert await gone(descendants(os.getpid()) - before)


async def test_a_killed_supervisor_takes_its_sandbox_with_it(backend: str) -> None:
    script = f"""
import asyncio
from agentkit.tools.sandbox import SANDBOXES, Limits
sandbox = SANDBOXES.get({backend!r})(limits=Limits(seconds=60))
sandbox.ensure_available()
print("ready", flush=True)
asyncio.run(sandbox.run("while True: pass"))
"""
    # The work directory of a process that was killed stays; so it gets a place that is removed.
    with tempfile.TemporaryDirectory(prefix="sandbox-test-") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "TMPDIR": folder}
        host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
        assert host.stdout is not None
        with host:
            assert host.stdout.readline() == b"ready\n"
            pids = await started(host.pid, set(), 3 if backend == "bubblewrap" else 1)
            await asyncio.sleep(0.3)
            pids |= descendants(host.pid)
            host.send_signal(signal.SIGKILL)
        assert await gone(pids)


async def test_the_event_loop_goes_on_meanwhile(backend: str) -> None:
    sandbox = make(backend)
    await asyncio.to_thread(sandbox.ensure_available)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    task = asyncio.create_task(tick())
    result = await sandbox.run("import time; time.sleep(1)")
    task.cancel()
    assert result.exit == "ok"
    assert ticks > 20


async def test_no_more_run_at_a_time_than_allowed(backend: str) -> None:
    sandbox = make(backend, parallel=2)
    code = "import time; start = time.time(); time.sleep(0.3); print(start, time.time())"
    results = await asyncio.gather(*(sandbox.run(code) for _ in range(6)))
    spans = [tuple(map(float, result.stdout.split())) for result in results]
    at_once = max(sum(start <= other < end for start, end in spans) for other, _ in spans)
    assert at_once == 2


async def test_fifty_at_once_all_come_back(backend: str, place: Path) -> None:
    sandbox = make(backend, parallel=50, seconds=60.0)
    code = "import threading\nt = threading.Thread(target=print, args=({0},)); t.start(); t.join()"
    results = await asyncio.gather(*(sandbox.run(code.format(number)) for number in range(50)))
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(50)]


async def test_code_and_files_are_not_in_any_command_line(backend: str) -> None:
    sandbox = make(backend, seconds=60.0)
    await asyncio.to_thread(sandbox.ensure_available)
    mark = "needle" + os.urandom(8).hex()
    before = descendants(os.getpid())
    task = asyncio.create_task(sandbox.run(f"import time\nx = {mark!r}\ntime.sleep(60)", files={mark: b"x"}))
    pids = await started(os.getpid(), before, 3 if backend == "bubblewrap" else 1)
    await asyncio.sleep(0.2)
    told = b""
    for pid in pids | descendants(os.getpid()) - before:
        for name in ("cmdline", "environ"):
            try:
                told += Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert b"marshal" in told
    assert mark.encode() not in told


def test_each_loop_has_its_own_slots(backend: str) -> None:
    sandbox = make(backend, parallel=1)

    async def several() -> list[str]:
        return [result.stdout for result in await asyncio.gather(*(sandbox.run("1") for _ in range(3)))]

    assert asyncio.run(several()) == asyncio.run(several()) == ["1\n"] * 3


async def test_no_descriptor_is_leaked(backend: str, place: Path) -> None:
    sandbox = make(backend, seconds=1.0)
    await sandbox.run("1")
    await asyncio.sleep(0.05)
    before = len(os.listdir("/proc/self/fd"))
    for code in ("1", "1/0", "import os; os._exit(3)", "while True: print('x' * 9999)", "while True: pass"):
        await sandbox.run(code)
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_second_stage_that_fails_is_an_error_with_its_reason(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make(backend)
    await asyncio.to_thread(sandbox.ensure_available)
    broken = supervisor.stage2().replace('payload["work"], payload["machine"]', 'payload["nowhere"], 1')
    monkeypatch.setattr(supervisor, "stage2", lambda: broken)
    with pytest.raises(SandboxError, match=f"The {backend} sandbox did not start .*KeyError: 'nowhere'"):
        await sandbox.run("1")


async def test_numpy_works(backend: str) -> None:
    code = "import numpy as np\nprint(np.linalg.solve([[2, 0], [0, 4]], [2, 8]).tolist())"
    result = await make(backend, seconds=60.0).run(code)
    assert (result.stdout, result.stderr) == ("[1.0, 2.0]\n", "")


async def test_everyday_python_works(backend: str) -> None:
    code = """
import asyncio, csv, dataclasses, json, pickle, shutil, sqlite3, tempfile, threading, zipfile, zoneinfo
@dataclasses.dataclass
class Point:
    x: int
assert pickle.loads(pickle.dumps(Point(3))) == Point(3)
base = sqlite3.connect("data.db")
base.execute("create table t (n)"); base.execute("insert into t values (7)"); base.commit()
assert base.execute("select n from t").fetchall() == [(7,)]
base.close()
async def half(): await asyncio.sleep(0.01); return 21
assert sum(asyncio.run(asyncio.wait_for(half(), 5)) for _ in "ab") == 42
with tempfile.NamedTemporaryFile() as f: f.write(b"x")
with tempfile.TemporaryDirectory() as d: pass
shutil.copy("data.db", "copy.db")
with zipfile.ZipFile("a.zip", "w") as z: z.write("copy.db")
with zipfile.ZipFile("a.zip") as z: z.extractall("out")
assert zoneinfo.ZoneInfo("Europe/Paris")
print("fine")
"""
    result = await make(backend, seconds=60.0).run(code)
    assert (result.stdout, result.stderr) == ("fine\n", "")
    assert sorted(result.files) == ["a.zip", "copy.db", "data.db"]


def test_text_is_cleaned() -> None:
    assert clean(b"a\r\nb\rc\td\n") == "a\nb\nc\td\n"
    assert clean("é ß 漢 🙂".encode()) == "é ß 漢 🙂"
    assert clean(b"\xff\x00\x1b\x7f") == "\ufffd" * 4
    assert clean("\u202e\u2066\u200b\ufeff\u2028\U000e0041\x85\ue000".encode()) == "\ufffd" * 8


def test_time_is_taken(backend: str) -> None:
    start = time.monotonic()
    result = asyncio.run(make(backend).run("import time; time.sleep(0.3)"))
    assert 0.3 <= result.seconds <= time.monotonic() - start
