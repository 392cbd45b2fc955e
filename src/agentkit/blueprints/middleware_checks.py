"""What can be wrong with the key `middleware`, as far as it can be said without foreign code."""

import re
from collections.abc import Callable, Collection
from typing import Any, cast

from pydantic import ValidationError

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.middleware import MIDDLEWARE, MiddlewareType, own_type
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts.yaml_models import describe, unknown_choice
from agentkit.prompts.yaml_source import KeyPath

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SHAPE = "A middleware is one name with its options, like {summarize: {at_tokens: 6000}}."


class MiddlewareChecker:
    """Checks every entry of `middleware`, of the blueprint and of its agents.

    The options of what is registered by an entry point, and of `use`, are checked when it is
    made: that takes code which a check does not run.

    Args:
        tree: The blueprint's files.
        problems: Where faults are added.
        models: Names under `models`.
        allowed: Checks that a reference is under `security.allowed_modules`.
        prompt: Checks a prompt in a role, at a path.
    """

    def __init__(
        self,
        tree: SourceTree,
        problems: list[Problem],
        models: Collection[str],
        allowed: Callable[[str, KeyPath], None],
        prompt: Callable[[str, KeyPath, PromptRef | None], None],
    ) -> None:
        self._tree = tree
        self._problems = problems
        self._models = models
        self._allowed = allowed
        self._prompt = prompt

    def run(self, value: dict[str, Any]) -> None:
        """Check all there are in a blueprint's value."""
        self._list(value.get("middleware"), ("middleware",))
        agents = value.get("agents")
        for index, agent in enumerate(cast("list[Any]", agents) if isinstance(agents, list) else []):
            if isinstance(agent, dict):
                listed = cast("dict[str, Any]", agent).get("middleware")
                self._list(listed, ("agents", index, "middleware"))

    def _list(self, entries: object, path: KeyPath) -> None:
        seen: set[tuple[str, str]] = set()
        for number, entry in enumerate(cast("list[object]", entries) if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                self._entry(cast("dict[str, Any]", entry), (*path, number), seen)

    def _entry(self, entry: dict[str, Any], path: KeyPath, seen: set[tuple[str, str]]) -> None:
        if "use" in entry or "options" in entry:
            self._used(entry, path, seen)
            return
        if len(entry) != 1:
            self._report(_SHAPE, path)
            return
        ((name, options),) = entry.items()
        if name not in MIDDLEWARE:
            self._report(unknown_choice("middleware", name, MIDDLEWARE.names()), (*path, name), key=True)
            return
        if not isinstance(options, dict):
            self._report(f"{name}: its options must be a mapping, at least {{}}.", (*path, name), key=True)
            return
        kind = own_type(name)
        each = cast("dict[str, Any]", options).get(kind.each) if kind and kind.each else None
        self._once((name, repr(each)), name, path, seen)
        if kind:
            self._options(kind, cast("dict[str, Any]", options), (*path, name))

    def _used(self, entry: dict[str, Any], path: KeyPath, seen: set[tuple[str, str]]) -> None:
        for key in entry:
            if key not in ("use", "options"):
                self._report(unknown_choice("key", key, ("use", "options")), (*path, key), key=True)
        use, options = entry.get("use"), entry.get("options", {})
        if not isinstance(use, str) or not _REFERENCE.fullmatch(use):
            self._report("use: must be module:attribute.", (*path, "use") if "use" in entry else path)
            return
        if not isinstance(options, dict):
            self._report("options: must be a mapping of keys to values.", (*path, "options"))
        self._once(("use", use), use, path, seen)
        self._allowed(use, (*path, "use"))

    def _once(self, what: tuple[str, str], name: str, path: KeyPath, seen: set[tuple[str, str]]) -> None:
        if what in seen:
            self._report(f"The middleware {name!r} is listed twice.", path)
        seen.add(what)

    def _options(self, kind: MiddlewareType, options: dict[str, Any], path: KeyPath) -> None:
        try:
            kind.options.model_validate(options)
        except ValidationError as error:
            for fault in error.errors():
                document, place = self._tree.locate((*path, *fault["loc"]))
                self._problems.append(describe(fault, kind.options, document, place))
        model = options.get("model")
        if "model" in kind.options.model_fields and isinstance(model, str) and model not in self._models:
            self._report(unknown_choice("model", model, self._models), (*path, "model"))
        if kind.prompt_role and "prompt" in options:
            self._prompt(kind.prompt_role, (*path, "prompt"), None)

    def _report(self, message: str, path: KeyPath, *, key: bool = False) -> None:
        self._problems.append(self._tree.problem(message, path, key=key))
