"""One tree out of several files: which file wrote each part, and how one layer goes over another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agentkit.prompts.yaml_source import KeyPath, YamlDocument


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part of the tree is written; `children` are the parts written elsewhere than it says.

    Attributes:
        document: The file.
        path: The part's place in that file.
        children: Parts below it that another file wrote, or that stand at another place.
    """

    document: YamlDocument
    path: KeyPath = ()
    children: "dict[str | int, Origin]" = field(default_factory=dict[str | int, "Origin"])

    def child(self, key: str | int) -> "Origin":
        """Where the part called `key` is written."""
        return self.children.get(key) or Origin(self.document, (*self.path, key))

    def locate(self, path: KeyPath) -> tuple[YamlDocument, KeyPath]:
        """Return the file that holds `path` of the tree, and the path within that file."""
        origin = self
        for depth, key in enumerate(path):
            if key not in origin.children:
                return origin.document, (*origin.path, *path[depth:])
            origin = origin.children[key]
        return origin.document, origin.path


@dataclass(frozen=True, slots=True)
class Layer:
    """A value, and where each part of it is written."""

    value: Any
    origin: Origin

    def part(self, key: str | int) -> "Layer":
        """The part called `key`."""
        return Layer(self.value[key], self.origin.child(key))


def merge(base: Layer, over: Layer) -> Layer:
    """Lay one blueprint over another.

    Mappings are merged key by key, agents by their names; whatever else `over` has
    replaces what `base` has. Inherited agents come first, in their order.
    """
    return _merged(base, over, agents=True)


def _merged(base: Layer, over: Layer, *, agents: bool = False) -> Layer:
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    below, above = cast("dict[str | int, Any]", base.value), cast("dict[str | int, Any]", over.value)
    parts: dict[str | int, Layer] = {}
    for key in (*below, *(key for key in above if key not in below)):
        if key not in above:
            parts[key] = base.part(key)
        elif key not in below:
            parts[key] = over.part(key)
        elif agents and key == "agents":
            parts[key] = _agents(base.part(key), over.part(key))
        else:
            parts[key] = _merged(base.part(key), over.part(key))
    value = {key: part.value for key, part in parts.items()}
    children = {key: part.origin for key, part in parts.items()}
    return Layer(value, Origin(over.origin.document, over.origin.path, children))


def _agents(base: Layer, over: Layer) -> Layer:
    if not isinstance(base.value, list) or not isinstance(over.value, list):
        return over
    agents = [base.part(index) for index in range(len(cast("list[Any]", base.value)))]
    inherited = {name: index for index, agent in enumerate(agents) if (name := _name(agent)) is not None}
    for index in range(len(cast("list[Any]", over.value))):
        agent = over.part(index)
        # Taken out: a second agent of that name is not merged too, but reported as taken.
        known = inherited.pop(_name(agent) or "", None)
        if known is None:
            agents.append(agent)
        else:
            agents[known] = _merged(agents[known], agent)
    children = cast("dict[str | int, Origin]", {index: agent.origin for index, agent in enumerate(agents)})
    value = [agent.value for agent in agents]
    return Layer(value, Origin(over.origin.document, over.origin.path, children))


def _name(agent: Layer) -> str | None:
    name = cast("Mapping[str, object]", agent.value).get("name") if isinstance(agent.value, dict) else None
    return name if isinstance(name, str) else None
