"""Parts of a blueprint that nothing uses or nobody reaches: they work, but are hardly meant.

Only warnings; what stops a blueprint is in `checks` and `rule_checks`. Models that fall back
to each other are no fault: of a model's fallbacks each is asked once, in turn, without
fallbacks of its own (see `llm_config`). What never counts is warned of instead.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.blueprints.teams import is_team
from agentkit.errors import Problem
from agentkit.prompts.yaml_source import KeyPath

_Warning = tuple[str, KeyPath, bool]


def unused_or_unreached(tree: SourceTree, value: dict[str, Any]) -> list[Problem]:
    """Return a warning for what nobody uses: models, parameters, fallbacks; and for unreached agents.

    Args:
        tree: The blueprint's files.
        value: The tree's value; parts that do not validate are passed over.
    """
    main = tree.documents[0]
    found = [*_models(value), *_parameters(tree, value)]
    # A base may offer more than one team uses.
    own = [warning for warning in found if tree.locate(warning[1])[0] is main]
    return [tree.problem(message, path, key=key) for message, path, key in [*own, *_unreached(value)]]


def _models(value: dict[str, Any]) -> Iterable[_Warning]:
    models = as_mapping(value.get("models"))
    named = {name for key, part in value.items() if key not in ("models", "tests") for name in _named(part)}
    agents = [as_mapping(agent) for agent in as_list(value.get("agents")) if not is_team(agent)]
    by_default = not all("model" in part for part in [*agents, as_mapping(value.get("supervisor"))])
    asked: set[str] = named | {"main"} if by_default else named
    backups = {name for model in asked for name in _fallbacks(models, model)}
    for name in models:
        if name not in asked | backups:
            of = next((model for model in backups - asked if name in _fallbacks(models, model)), None)
            why = (
                f"it is a fallback of {of!r} only, which is a fallback itself, and those of a fallback "
                "are not asked"
                if of
                else "no agent, not the supervisor, and it is nobody's fallback"
            )
            yield f"Nothing uses the model {name!r}: {why}.", ("models", name), True
        elif name not in asked and _fallbacks(models, name):
            message = f"These are never asked: {name!r} is a fallback itself, and its own do not count."
            yield message, ("models", name, "fallbacks"), True


def _named(value: object) -> Iterator[str]:
    """Every text under a key `model`, wherever that is."""
    for key, part in as_mapping(value).items():
        if key == "model" and isinstance(part, str):
            yield part
        yield from _named(part)
    for part in as_list(value):
        yield from _named(part)


def _fallbacks(models: dict[Any, Any], name: str) -> list[str]:
    listed = as_list(as_mapping(models.get(name)).get("fallbacks"))
    return [fallback for fallback in listed if isinstance(fallback, str)]


def _parameters(tree: SourceTree, value: dict[str, Any]) -> Iterable[_Warning]:
    text = "\n".join(document.text for document in tree.documents)
    for name in as_mapping(value.get("parameters")):
        if f"${{param:{name}}}" not in text:
            yield f"Nothing uses the parameter {name!r}.", ("parameters", name), True


def _unreached(value: dict[str, Any]) -> Iterable[_Warning]:
    """Agents whom no rule names and nobody hands over to, where rules alone decide.

    The other strategies know every agent.
    """
    routing = as_mapping(value.get("routing"))
    if as_list(routing.get("strategy")) != ["rules"]:
        return
    targets = [as_mapping(rule).get("to") for rule in as_list(routing.get("rules"))]
    named = [name for target in targets for name in (as_list(target) or [target])]
    agents = [as_mapping(agent) for agent in as_list(value.get("agents"))]
    if any(agent.get("handoffs") is True for agent in agents):
        return
    named += [name for agent in agents for name in as_list(agent.get("handoffs"))]
    for index, agent in enumerate(agents):
        name = agent.get("name")
        if isinstance(name, str) and name not in named:
            message = f"Nobody is sent to the agent {name!r}: no rule names it, and only rules decide."
            yield message, ("agents", index, "name"), False
