"""Reading the teams of a blueprint: blueprints that are agents of another one.

They are checked in the same run, each with the places of its own files, and under the
rules of what is above them: the paths stay in one project, nothing contains itself, and
code is loaded only from modules that every blueprint above allows too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from agentkit.blueprints.inheritance import (
    MAIN_FILE,
    MAX_DEPTH,
    Inheritance,
    cycle,
    main_file,
    out_of_reach,
    plain,
)
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.schema import Blueprint, SecuritySpec
from agentkit.blueprints.sources import SourceTree
from agentkit.blueprints.teams import PATH_SEPARATOR, TeamSpec, is_team
from agentkit.errors import BlueprintError, Problem
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath
from agentkit.references import is_allowed

if TYPE_CHECKING:
    from agentkit.blueprints.loader import LoadedBlueprint

MAX_TEAMS = 64


@dataclass(frozen=True, slots=True)
class Above:
    """What a team must know of the blueprints it is in.

    Attributes:
        chain: Their main files, the outermost first.
        project: Folder that nothing outside of is read.
        allowed: What each allows code to be loaded from, by its name.
        commands: Commands each allows MCP servers to be started with, by its name.
        read: Main files of all teams read so far, shared by the whole tree.
    """

    chain: tuple[Path, ...]
    project: Path
    allowed: tuple[tuple[str, tuple[str, ...]], ...]
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    read: list[Path] = field(default_factory=list[Path])


LoadBelow = Callable[[Path, Mapping[str, object], Above], "LoadedBlueprint"]


class Teams:
    """The teams of one blueprint, loaded.

    Args:
        tree: The blueprint's files.
        value: The tree's value without unknown keys.
        above: What the blueprint itself is in, or None.
        load: Loads a blueprint below this one.

    Attributes:
        loaded: Teams by name; those with faults are missing.
        problems: Faults of the teams, each in its own file, and of the keys that name them.
        warnings: Those of the teams.
    """

    def __init__(self, tree: SourceTree, value: dict[str, Any], above: Above | None, load: LoadBelow) -> None:
        self.loaded: dict[str, LoadedBlueprint] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._tree = tree
        self._value = value
        self._load = load
        self._above = _with(tree, value, above)
        if above is not None:
            self._code_is_allowed(above)
        for index, member in enumerate(as_list(value.get("agents"))):
            if is_team(member):
                self._team(cast("dict[str, Any]", member), ("agents", index))
        self._tests_name_teams()

    def _team(self, member: dict[str, Any], place: KeyPath) -> None:
        text, name = member.get("blueprint"), member.get("name")
        if not isinstance(text, str) or not text.strip():
            return  # the schema's to say
        where = (*place, "blueprint")
        path = self._tree.resolve(text, where)
        path = path.parent if path.name == MAIN_FILE else path
        try:
            target = main_file(path).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL
            self._report(f"blueprint: {text!r} is not a path: {error}.", where)
            return
        if refused := self._refused(text, target):
            self._report(f"blueprint: {refused}", where)
            return
        self._above.read.append(target)
        try:
            below = self._load(plain(path), self._parameters(member, plain(path), place), self._above)
        except BlueprintError as error:
            self.problems += error.problems
            return
        if not member.get("description") and not below.spec.description:
            message = f"The team needs a description: here, or in {text!r}. Routing goes by it."
            self._report(message, place)
        self.warnings += below.warnings
        if isinstance(name, str):
            self.loaded.setdefault(name, below)

    def _parameters(self, member: dict[str, Any], path: Path, place: KeyPath) -> dict[str, object]:
        """Those of the given parameters that the team has; the others are reported."""
        given = as_mapping(member.get("parameters"))
        declared = as_mapping(as_mapping(Inheritance(path).layer.value).get("parameters")) if given else {}
        for name in given.keys() - declared.keys():
            message = unknown_choice("parameter", str(name), map(str, declared))
            where = (*place, "parameters", name)
            self.problems.append(self._tree.problem(message, where, key=True))
        known = {str(name): given[name] for name in declared if name in given}
        return {name: item for name, item in known.items() if isinstance(item, str | int | float)}

    def _refused(self, text: str, target: Path) -> str | None:
        """Why a file is not read as a team, or None."""
        above = self._above
        if said := out_of_reach(text, target, above.project, "take teams from"):
            return said
        if said := cycle(target, above.chain, above.project):
            return said
        if len(above.chain) > MAX_DEPTH:
            return f"more than {MAX_DEPTH} teams within one another."
        if len(above.read) >= MAX_TEAMS:
            return f"more than {MAX_TEAMS} teams in all."
        return None

    def _code_is_allowed(self, above: Above) -> None:
        """What a team loads, every blueprint above must allow: it cannot widen what they trust."""
        for path, use in _references(self._value):
            for owner, allowed in above.allowed:
                if not is_allowed(use, allowed):
                    valid = ", ".join(allowed) or "(none)"
                    message = (
                        f"{use!r} is not under security.allowed_modules of {owner!r}, of which this is a "
                        f"team. Allowed: {valid}. Add its module there too if you trust it."
                    )
                    self._report(message, path)
        for name, server in as_mapping(self._value.get("mcp_servers")).items():
            command = as_mapping(server).get("command")
            for owner, commands in above.commands:
                if isinstance(command, str) and command not in commands:
                    valid = ", ".join(commands) or "(none)"
                    message = (
                        f"{command!r} is not in security.allowed_commands of {owner!r}, of which this is a "
                        f"team. Allowed: {valid}. Add it there too if you trust it."
                    )
                    self._report(message, ("mcp_servers", name, "command"))

    def _tests_name_teams(self) -> None:
        """Who is in a team is named by its path in tests: `cluster/kubernetes`."""
        members = [as_mapping(member) for member in as_list(self._value.get("agents")) if is_team(member)]
        # Of a team with faults nobody knows who is in it.
        faulty = {str(member.get("name")) for member in members} - self.loaded.keys()
        who, teams = set(speakers(self.loaded)), set(paths(self.loaded))
        for number, test in enumerate(as_list(self._value.get("tests"))):
            mocked = [
                str(name) for name in as_mapping(as_mapping(test).get("mock")) if PATH_SEPARATOR in str(name)
            ]
            expected = as_mapping(as_mapping(as_mapping(test).get("expect")).get("teams"))
            for kind, names, known, place in (
                ("agent or model", mocked, who, ("mock",)),
                ("team", map(str, expected), teams, ("expect", "teams")),
            ):
                for name in names:
                    if name not in known and name.partition(PATH_SEPARATOR)[0] not in faulty:
                        path = ("tests", number, *place, name)
                        message = unknown_choice(kind, name, known)
                        self.problems.append(self._tree.problem(message, path, key=True))

    def _report(self, message: str, path: KeyPath) -> None:
        self.problems.append(self._tree.problem(message, path))


def paths(teams: "Mapping[str, LoadedBlueprint]") -> Iterator[str]:
    """Some teams, and the teams in them by path."""
    for name, team in teams.items():
        yield name
        yield from (f"{name}{PATH_SEPARATOR}{inner}" for inner in paths(team.teams))


def speakers(teams: "Mapping[str, LoadedBlueprint]") -> Iterator[str]:
    """Everyone in some teams whose replies a test may script, by path: agents, supervisors, models."""
    for name, team in teams.items():
        own = ("supervisor", *(agent.name for agent in team.spec.agents), *team.spec.models)
        for speaker in (*own, *speakers(team.teams)):
            yield f"{name}{PATH_SEPARATOR}{speaker}"


def _with(tree: SourceTree, value: dict[str, Any], above: Above | None) -> Above:
    """What the teams of this blueprint are in."""
    main = tree.files[0].resolve()
    try:
        security = SecuritySpec.model_validate(value.get("security") or {})
    except ValidationError:  # reported; nothing is run then
        security = SecuritySpec()
    name = str(value.get("name") or main.parent.name)
    modules, commands = (name, security.allowed_modules), (name, security.allowed_commands)
    if above is None:
        return Above((main,), tree.project, (modules,), (commands,))
    return Above(
        (*above.chain, main),
        above.project,
        (*above.allowed, modules),
        (*above.commands, commands),
        above.read,
    )


def completed(spec: Blueprint, teams: "Mapping[str, LoadedBlueprint]") -> Blueprint:
    """Return the blueprint with what its teams say of themselves where it says nothing."""
    if not spec.teams:
        return spec
    members = [
        _described(member, teams[member.name]) if isinstance(member, TeamSpec) else member
        for member in spec.members
    ]
    return spec.model_copy(update={"members": tuple(members)})


def _described(member: TeamSpec, below: "LoadedBlueprint") -> TeamSpec:
    spec = below.spec
    examples = tuple(dict.fromkeys(text for inner in spec.members for text in inner.examples))
    update = {
        "description": member.description or spec.description,
        "examples": member.examples or examples,
    }
    return member.model_copy(update=update)


def _references(value: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Every `use` of a model, and of anything within an agent, with its place."""
    for name, model in as_mapping(value.get("models")).items():
        use = as_mapping(model).get("use")
        if isinstance(use, str):
            yield ("models", name, "use"), use
    yield from _uses(value.get("agents"), ("agents",))


def _uses(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, list):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _uses(item, (*path, index))
        return
    for key, item in as_mapping(value).items():
        if key == "use" and isinstance(item, str) and ":" in item:
            yield (*path, key), item
        else:
            yield from _uses(item, (*path, key))
