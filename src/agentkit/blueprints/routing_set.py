"""Labelled utterances: files that say which agent should get what, to measure routing with."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from agentkit.blueprints.fields import Section, Text
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import MAIN_FILE
from agentkit.errors import BlueprintError
from agentkit.prompts.yaml_models import unknown_choice, validation_problems
from agentkit.prompts.yaml_source import KeyPath, YamlDocument, read_yaml


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Agents = Annotated[tuple[Text, ...], BeforeValidator(_one_or_several)]


class UtteranceSpec(Section):
    """A message, and who should answer it."""

    text: Text = Field(description="What the user says.")
    agents: Agents | None = Field(
        default=None, description="Who should get it; an empty list: the supervisor answers itself."
    )
    accept: Annotated[tuple[Agents, ...], Field(min_length=1)] | None = Field(
        default=None, description="Instead of agents: several answers to that, each of them right."
    )

    @model_validator(mode="after")
    def _labelled_once(self) -> "UtteranceSpec":
        if (self.agents is None) == (self.accept is None):
            raise ValueError("needs either agents or accept.")
        return self

    @property
    def routes(self) -> tuple[tuple[str, ...], ...]:
        """Every right answer."""
        return self.accept or (self.agents or (),)


class RoutingSetSpec(Section):
    """A file of labelled utterances."""

    utterances: Annotated[tuple[UtteranceSpec, ...], Field(min_length=1)] = Field(
        description="The messages with their labels."
    )


@dataclass(frozen=True, slots=True)
class Utterance:
    """A labelled message.

    Attributes:
        text: What the user says.
        routes: Every right answer: agents in any order; none: the supervisor itself.
        line: 1-based line of the file.
    """

    text: str
    routes: tuple[tuple[str, ...], ...]
    line: int


def load_routing_set(path: Path, agents: Collection[str]) -> tuple[Utterance, ...]:
    """Read and check a file of labelled utterances.

    Args:
        path: The YAML file.
        agents: Names a label may have.

    Raises:
        BlueprintError: The file is faulty; `problems` has every fault with its place.
    """
    document = read_yaml(path)
    problems = document.problems
    spec: RoutingSetSpec | None = None
    if not problems:
        try:
            spec = RoutingSetSpec.model_validate(document.value)
        except ValidationError as error:
            problems += validation_problems(error, document, RoutingSetSpec)
        problems += [document.problem(said, place) for said, place in _faults(document.value, agents)]
    if spec is None or problems:
        ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
        count = f"{len(ordered)} problem{'s' if len(ordered) > 1 else ''}"
        raise BlueprintError(f"The labelled set {str(path)!r} has {count}.", ordered)
    return tuple(
        Utterance(item.text, item.routes, _line(document, number))
        for number, item in enumerate(spec.utterances)
    )


def blueprint_around(file: Path) -> Path | None:
    """The blueprint whose folder a file lies in, however deep, or None."""
    folders = file.resolve().parents
    return next((folder for folder in folders if (folder / MAIN_FILE).is_file()), None)


def _line(document: YamlDocument, number: int) -> int:
    return document.position(("utterances", number)).line


def _faults(value: object, agents: Collection[str]) -> Iterator[tuple[str, KeyPath]]:
    """What the schema cannot say: names that are no agent's, and messages that are there twice."""
    first: dict[str, int] = {}
    for number, item in enumerate(as_list(as_mapping(value).get("utterances"))):
        given = as_mapping(item)
        text = given.get("text")
        if isinstance(text, str) and first.setdefault(text.casefold(), number) != number:
            said = f"The text {text!r} is here twice, first as utterance {first[text.casefold()] + 1}."
            yield said, ("utterances", number, "text")
        for place, name in _names(given):
            if name not in agents:
                hint = " The supervisor itself is an empty list." if name == "supervisor" else ""
                yield unknown_choice("agent", name, agents) + hint, ("utterances", number, *place)


def _names(given: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    listed: list[tuple[KeyPath, object]] = [(("agents",), given.get("agents"))]
    listed += [(("accept", number), route) for number, route in enumerate(as_list(given.get("accept")))]
    for place, route in listed:
        if isinstance(route, str):
            yield place, route
        for number, name in enumerate(as_list(route)):
            if isinstance(name, str):
                yield (*place, number), name
