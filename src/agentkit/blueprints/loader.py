"""From a folder or file of YAML to a checked blueprint, with every fault in one run."""

import copy
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from agentkit.blueprints.checks import Checker
from agentkit.blueprints.fields import PATTERNS, PromptRef
from agentkit.blueprints.interpolation import SECRETS, SecretParts, Surroundings
from agentkit.blueprints.mcp import mcp_servers
from agentkit.blueprints.memory import check_store
from agentkit.blueprints.nested import Above, Teams, completed
from agentkit.blueprints.outputs import output_schemas
from agentkit.blueprints.schema import Blueprint
from agentkit.blueprints.sources import MAIN_FILE, SourceTree
from agentkit.blueprints.teams import of_member
from agentkit.errors import BlueprintError, Problem, UnknownNameError
from agentkit.prompts import PromptManager, PromptVersion
from agentkit.prompts.yaml_models import describe
from agentkit.prompts.yaml_source import MAX_PROBLEMS, KeyPath

if TYPE_CHECKING:
    from agentkit.tools.mcp import McpServer

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """Files that feed a scope: an absolute path (of a file or folder) and the scope."""

    path: Path
    scope: str


@dataclass(frozen=True, slots=True)
class LoadedBlueprint:
    """A blueprint that passed every check, with all it refers to.

    Attributes:
        spec: The validated blueprint.
        digest: SHA-256 (hexadecimal) over its files, its resolved values and its prompts;
            does not depend on where the files are, nor on the values of secrets. Those of its
            teams are in it.
        root: Folder that relative paths start from.
        files: Every file it was read from: the main one first, then those it extends, those of
            its teams last.
        prompts: The prompts it uses, in the version it uses: pinned when it was loaded.
        schemas: The schemas of its agents' `output`, by agent: as they were when it was loaded.
        sources: Its own knowledge sources with absolute paths; its teams have theirs.
        mcp_servers: Its own MCP servers by name, with absolute folders.
        warnings: Things that work but are probably not meant.
        teams: The blueprints that are agents of this one, by the agent's name.
        value: The tree the blueprint was validated from, every expression replaced.
        secrets: Places in `value` that hold secrets, and what those are made of.
    """

    spec: Blueprint
    digest: str
    root: Path
    files: tuple[Path, ...]
    prompts: Mapping[PromptRef, PromptVersion]
    schemas: Mapping[str, Mapping[str, Any]]
    sources: tuple[Source, ...]
    mcp_servers: "Mapping[str, McpServer]"
    warnings: tuple[Problem, ...]
    teams: "Mapping[str, LoadedBlueprint]" = field(
        default_factory=lambda: MappingProxyType(dict[str, LoadedBlueprint]())
    )
    value: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    secrets: Mapping[KeyPath, SecretParts] = field(default_factory=dict[KeyPath, SecretParts], repr=False)

    def everything(self) -> "Iterator[LoadedBlueprint]":
        """This blueprint, then all its teams and theirs."""
        yield self
        for team in self.teams.values():
            yield from team.everything()


def load(
    path: Path,
    *,
    prompts: PromptManager,
    providers: Collection[str] | None = None,
    tools: Collection[str] | None = None,
    parameters: Mapping[str, object] = _NOTHING,
    env: Mapping[str, str] = _NOTHING,
    secrets: Path = SECRETS,
    above: Above | None = None,
) -> LoadedBlueprint:
    """Read and check a blueprint. Imports no user code; needs no network and no database.

    Args:
        path: Folder with `blueprint.yaml` and `agents/*.yaml`, or one file.
        prompts: Where its prompts are.
        providers: Valid provider names; any name passes if None. `auto` is always valid.
        tools: Valid tool names; any name passes if None.
        parameters: Values for the blueprint's `parameters`.
        env: Environment that `${env:NAME}` and `${secret:NAME}` read.
        secrets: Folder with one file a secret, for those not in the environment.
        above: The blueprints it is a team of; None: none.

    Raises:
        BlueprintError: The blueprint is faulty; `problems` has every fault with its place.
    """
    tree = SourceTree(path, parameters, Surroundings(env, secrets))
    problems = tree.faults
    spec: Blueprint | None = None
    checker: Checker | None = None
    schemas: dict[str, Any] = {}
    teams: Teams | None = None

    def below(team: Path, given: Mapping[str, object], above: Above) -> LoadedBlueprint:
        return load(
            team,
            prompts=prompts,
            providers=providers,
            tools=tools,
            parameters=given,
            env=env,
            secrets=secrets,
            above=above,
        )

    if tree.readable:
        spec, faults, value = _validate(tree)
        checker = Checker(tree, value, prompts=prompts, providers=providers, tools=tools)
        checker.run()
        teams = Teams(tree, value, above, below)
        schemas = output_schemas(tree, value, problems)
        problems += faults + checker.problems + teams.problems
        problems += [] if above else check_store(tree, value, teams.loaded)
    if spec is None or checker is None or teams is None or problems:
        ordered = _in_order(problems, tree)
        count = f"{len(ordered)} problem{'s' if len(ordered) > 1 else ''}"
        raise BlueprintError(f"The blueprint {str(path)!r} has {count}.", ordered)
    spec = completed(spec, teams.loaded)
    return LoadedBlueprint(
        spec=spec,
        digest=_digest(tree, spec, checker.found_prompts, schemas, teams.loaded),
        root=tree.root,
        files=tuple(dict.fromkeys([*tree.files, *(f for t in teams.loaded.values() for f in t.files)])),
        prompts=MappingProxyType(checker.found_prompts),
        schemas=MappingProxyType(schemas),
        sources=tuple(
            Source(
                tree.resolve(source.path, ("knowledge", "sources", number, "path")).resolve(), source.scope
            )
            for number, source in enumerate(spec.knowledge.sources)
        ),
        mcp_servers=MappingProxyType(mcp_servers(spec.mcp_servers, tree)),
        warnings=(*_name_warning(tree, spec, path), *checker.warnings, *teams.warnings),
        teams=MappingProxyType(teams.loaded),
        value=tree.value,
        secrets=tree.secrets,
    )


def list_blueprints(search: Sequence[Path]) -> dict[str, Path]:
    """Return the blueprints in some folders by name, sorted; the first folder that has a name wins.

    A blueprint is a folder that holds `blueprint.yaml`, or a file `NAME.yaml`.
    """
    found: dict[str, Path] = {}
    for folder in search:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if (path / MAIN_FILE).is_file():
                found.setdefault(path.name, path)
            elif path.suffix == ".yaml" and path.is_file():
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find_blueprint(name_or_path: str | Path, search: Sequence[Path]) -> Path:
    """Return the folder or file of a blueprint.

    Args:
        name_or_path: Path of a blueprint's folder or file, else a name looked up in `search`.
            A program that takes the name from strangers uses `list_blueprints`, not paths.
        search: Folders with blueprints, most important first.

    Raises:
        UnknownNameError: There is none; the text lists those that exist.
    """
    path = Path(name_or_path)
    if path.is_file() or (path / MAIN_FILE).is_file():
        return path.parent if path.name == MAIN_FILE else path
    known = list_blueprints(search)
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    folders = ", ".join(str(folder) for folder in search) or "(none)"
    raise UnknownNameError(
        "blueprint",
        str(name_or_path),
        known,
        hint=f"Searched: {folders}. A path to a folder with {MAIN_FILE}, or to a YAML file, works as well.",
    )


def _validate(tree: SourceTree) -> tuple[Blueprint | None, list[Problem], dict[str, Any]]:
    """Return the blueprint or the schema's faults, and the tree without unknown keys."""
    try:
        return Blueprint.model_validate(tree.value), [], cast(dict[str, Any], tree.value)
    except ValidationError as error:
        details = error.errors()
    value = copy.deepcopy(tree.value)
    problems: list[Problem] = []
    for number, fault in enumerate(details):
        place, inner, model = of_member(fault)
        if number < MAX_PROBLEMS:
            document, path = tree.locate(place)
            problems.append(describe(inner, model or Blueprint, document, path, PATTERNS))
        if fault["type"] in ("extra_forbidden", "invalid_key"):
            owner: Any = value
            for key in place[:-1]:
                owner = owner[key]
            del owner[place[-1]]
    return None, problems, cast(dict[str, Any], value)


def _in_order(problems: Sequence[Problem], tree: SourceTree) -> list[Problem]:
    """Sort by place, the blueprint's own files first, and drop repetitions."""
    files = {str(file): index for index, file in enumerate(tree.files)}
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda p: (files.get(p.file, len(files)), p.file, p.line, p.column))


def _name_warning(tree: SourceTree, spec: Blueprint, path: Path) -> Sequence[Problem]:
    found_as = path.resolve().name if path.is_dir() else path.stem
    if found_as == spec.name:
        return ()
    message = f"The name {spec.name!r} differs from {found_as!r}, by which the blueprint is found."
    return (tree.problem(message, ("name",)),)


def _digest(
    tree: SourceTree,
    spec: Blueprint,
    prompts: Mapping[PromptRef, PromptVersion],
    schemas: Mapping[str, Any],
    teams: Mapping[str, LoadedBlueprint],
) -> str:
    content: dict[str, object] = {
        "files": {
            Path(os.path.relpath(file, tree.root)).as_posix(): document.text
            for file, document in zip(tree.files, tree.documents, strict=True)
        },
        "spec": spec.model_dump(mode="json"),
        **({"schemas": dict(schemas)} if schemas else {}),
        "prompts": sorted([prompt.ref, prompt.version, prompt.content] for prompt in prompts.values()),
        **({"teams": {name: team.digest for name, team in teams.items()}} if teams else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
