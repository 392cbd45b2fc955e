"""What CI runs: `nox` for all of it, `nox -s tests` for one part. Uses the environment it is started in."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "docs", "wheel"]

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent


def python(session: nox.Session, *arguments: str, **options: object) -> None:
    session.run(sys.executable, "-m", *arguments, external=True, **options)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format and the layers of docs/architecture.md."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")
    session.run(str(BIN / "lint-imports"), external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Pyright, strict, over src."""
    python(session, "pyright", "--pythonpath", sys.executable)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests on the real parts: PostgreSQL, the local model, HTTP on loopback.

    Two at a time: each worker has a PostgreSQL and a model of its own, which memory has to hold.
    """
    workers = ["-n", "2", "--dist", "loadfile"]
    python(session, "pytest", "-q", *workers, "--ignore", "tests/docs", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples in docstrings and documents."""
    python(session, "pytest", "--doctest-modules", "src", "-q", "-p", "no:randomly")
    python(session, "pytest", "tests/docs", "-q")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone into a new environment and do the main job with it."""
    with tempfile.TemporaryDirectory() as folder:
        python(session, "build", "--no-isolation", "--wheel", "--outdir", folder, str(ROOT))
        built = next(Path(folder).glob("*.whl"))
        venv = Path(folder, "venv")
        python(session, "venv", str(venv))
        pip = [str(venv / "bin" / "pip"), "install", "--quiet"]
        session.run(*pip, "-r", str(ROOT / "requirements" / "local.txt"), external=True)
        session.run(*pip, "--no-deps", str(built), external=True)
        elsewhere = Path(folder, "elsewhere")
        elsewhere.mkdir()
        session.chdir(elsewhere)
        agentkit = str(venv / "bin" / "agentkit")
        session.run(agentkit, "--version", external=True)
        session.run(agentkit, "blueprint", "validate", "devassist", external=True)
        session.run(agentkit, "prompts", "check", external=True)
        session.run(agentkit, "chat", "devassist", "What is our system architecture?", external=True)


@nox.session
def pin(session: nox.Session) -> None:
    """Resolve the dependencies anew and write requirements/*.txt."""
    uv = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        session.error("pip install uv first")
    common = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    common += ["--no-emit-package", "langgraph-agentkit", "--custom-compile-command", "nox -s pin", "--quiet"]
    for name in ("local", "dev"):
        inputs = ["pyproject.toml", "requirements/build.in", "--extra", name]
        session.run(uv, "pip", "compile", *inputs, *common, "-o", f"requirements/{name}.txt", external=True)
