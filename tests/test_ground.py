"""Registries, events, optional imports, context, and what importing agentkit costs."""

import logging
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import agentkit
from agentkit import registry as registry_module
from agentkit.context import RunContext
from agentkit.errors import DuplicateNameError, MissingExtraError, UnknownNameError
from agentkit.events import Event, EventBus, StageStarted
from agentkit.extras import require
from agentkit.registry import Registry

HEAVY = ("langgraph", "langchain_core", "langchain", "sqlalchemy", "fastapi", "psycopg", "numpy", "pydantic")


class TestRegistry:
    def test_refuses_a_duplicate(self) -> None:
        registry = Registry[int]("size", table={"small": "x:y"})
        registry.register("large", 2)
        for name in ("small", "large"):
            with pytest.raises(DuplicateNameError, match=f"The size '{name}' is registered already"):
                registry.register(name, 3)
        assert registry.get("large") == 2

    def test_imports_a_table_entry_at_first_use(self) -> None:
        assert Registry[object]("thing", table={"bus": "agentkit.events:EventBus"}).get("bus") is EventBus

    def test_an_unknown_name_lists_entry_points_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        points = EntryPoints([EntryPoint("third", "agentkit.events:EventBus", "g")])
        monkeypatch.setattr(registry_module, "entry_points", lambda group: points.select(group=group))
        registry = Registry[object]("thing", group="g")
        assert registry.get("third") is EventBus
        assert "third" in registry
        with pytest.raises(UnknownNameError, match="Unknown thing 'thrid'. Did you mean 'third'"):
            registry.get("thrid")


class TestEvents:
    def test_a_failing_sink_is_logged_and_the_others_still_hear(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        heard: list[Event] = []
        bus = EventBus()

        def broken(event: Event) -> None:
            raise RuntimeError("sink down")

        bus.subscribe(broken)
        bus.subscribe(heard.append)
        with caplog.at_level(logging.ERROR):
            bus.emit(StageStarted("x"))
        assert heard == [StageStarted("x")]
        assert "sink down" in caplog.text

    def test_unsubscribe_removes_only_that_sink(self) -> None:
        first: list[Event] = []
        second: list[Event] = []
        bus = EventBus()
        remove = bus.subscribe(first.append)
        bus.subscribe(second.append)
        remove()
        bus.emit(StageStarted("x"))
        assert (len(first), len(second)) == (0, 1)


class TestExtras:
    def test_a_missing_package_is_the_pip_command(self) -> None:
        with pytest.raises(MissingExtraError, match=r"Telepathy needs the package 'no_such_package'"):
            require("no_such_package", extra="local", purpose="Telepathy")

    def test_a_fault_inside_the_package_is_not_hidden(
        self, tmp_path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_package.py").write_text("import something_it_lacks")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="something_it_lacks") as caught:
            require("broken_package", extra="local", purpose="X")
        assert not isinstance(caught.value, MissingExtraError)


def test_a_context_only_narrows() -> None:
    assert RunContext().allowed(("a", "b")) == ("a", "b")
    assert RunContext(scopes=frozenset({"b", "c"})).allowed(("a", "b")) == ("b",)
    assert RunContext(scopes=frozenset()).allowed(("a",)) == ()


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_loads_nothing_heavy() -> None:
    loaded = run_python("import agentkit, sys; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_help_loads_nothing_heavy() -> None:
    code = "import agentkit.cli, sys\n"
    code += "try: agentkit.cli.app(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = run_python(code).split()
    assert "Commands:" in loaded
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize("name", sorted(agentkit.__all__))
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(agentkit, name) is not None


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        agentkit.opne  # noqa: B018
