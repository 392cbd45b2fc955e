"""What a sandbox costs: from the call to the result of a trivial program, beside a plain `python -c`.

All sides take turns in one run, so that a busy machine is busy for all of them; read the
differences and ratios. Then fifty calls at once.

    python benchmarks/sandbox.py [--calls 50] [--parallel 50]
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from agentkit.errors import SandboxUnavailableError
from agentkit.tools.sandbox import Limits, Sandbox
from agentkit.tools.sandbox.bubblewrap import BubblewrapSandbox
from agentkit.tools.sandbox.landlock import LandlockSandbox

CODE = "print(6 * 7)"
GOAL = 0.040


async def plain() -> None:
    """The interpreter alone, as anybody would start it."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CODE, stdout=subprocess.PIPE)
    await process.communicate()


def boxed(sandbox: Sandbox) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        result = await sandbox.run(CODE)
        assert result.stdout == "42\n", result

    return call


async def available(parallel: int) -> dict[str, Sandbox]:
    found: dict[str, Sandbox] = {}
    for kind in (BubblewrapSandbox, LandlockSandbox):
        sandbox, name = kind(limits=Limits(seconds=60), parallel=parallel), kind.name
        try:
            started = time.perf_counter()
            await asyncio.to_thread(sandbox.ensure_available)
        except SandboxUnavailableError as error:
            print(error)
        else:
            print(f"{name}: self-test {(time.perf_counter() - started) * 1000:.0f} ms, once per process")
            found[name] = sandbox
    return found


async def main(calls: int, parallel: int) -> None:
    sandboxes = await available(parallel)
    sides = {"python -c": plain, **{name: boxed(sandbox) for name, sandbox in sandboxes.items()}}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(calls):
        for name in random.sample(list(sides), len(sides)):
            started = time.perf_counter()
            await sides[name]()
            times[name].append(time.perf_counter() - started)
    base = statistics.median(times["python -c"])
    print(f"\n{calls} calls a side, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, taken in times.items():
        taken.sort()
        p50, p95 = statistics.median(taken), taken[int(len(taken) * 0.95)]
        goal = (
            ""
            if name == "python -c"
            else f"  (goal {GOAL * 1000:.0f} ms: {'met' if p50 <= GOAL else 'not met'})"
        )
        print(
            f"{name:11} min {taken[0] * 1000:5.1f}  p50 {p50 * 1000:5.1f}  p95 {p95 * 1000:5.1f} ms"
            f"  {p50 / base:.1f} x python -c{goal}"
        )
    print(f"\n{parallel} at once")
    for name, call in sides.items():
        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(parallel)))
        taken_all = time.perf_counter() - started
        print(f"{name:11} {taken_all:.2f} s, {taken_all / parallel * 1000:.1f} ms each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--parallel", type=int, default=50)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.calls, chosen.parallel))
