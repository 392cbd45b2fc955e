"""What a schema cannot say: names that must exist, paths, versions, allowed modules."""

from collections import Counter
from collections.abc import Collection
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from agentkit.blueprints.agents import ToolSpec
from agentkit.blueprints.approvals import check_approvals
from agentkit.blueprints.cases import case_faults
from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.handoffs import check_handoffs
from agentkit.blueprints.history import ROLES, check_summary
from agentkit.blueprints.inheritance import nearest_file
from agentkit.blueprints.knowledge import KnowledgeSpec, SourceSpec
from agentkit.blueprints.mcp_checks import check_mcp
from agentkit.blueprints.memory import check_memory
from agentkit.blueprints.middleware_checks import MiddlewareChecker
from agentkit.blueprints.routing import SEVERAL_PROMPT, LlmRoutingSpec, SupervisorSpec
from agentkit.blueprints.rule_checks import check_rules
from agentkit.blueprints.schema import SecuritySpec
from agentkit.blueprints.semantic_checks import unused_or_unreached
from agentkit.blueprints.sources import SourceTree
from agentkit.blueprints.teams import is_team
from agentkit.blueprints.variable_checks import check_test_values, variable_faults
from agentkit.errors import Problem, PromptError, UnknownNameError
from agentkit.prompts import PromptManager, PromptVersion
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath
from agentkit.references import is_allowed, refusal

M = TypeVar("M", bound=BaseModel)

PROMPT_VARIABLES = {
    "agent": frozenset[str](),
    "supervisor": frozenset({"agents"}),
    "routing": frozenset({"agents", "limit"}),
    "combine": frozenset({"answers"}),
    "retrieval": frozenset({"sources"}),
    "summary": frozenset({"messages"}),
    **ROLES,
}
"""Variables each role's prompt is rendered with; a prompt may use fewer."""


class Checker:
    """Checks one tree part by part, so that a fault in one part does not hide those of others.

    Args:
        tree: The blueprint's files.
        value: The tree's value without unknown keys.
        prompts: Where prompts are looked up.
        providers: Valid provider names, or None to accept any.
        tools: Valid tool names, or None to accept any.

    Attributes:
        problems: Faults found by `run`.
        warnings: Things that work but are probably not meant.
        found_prompts: Every prompt the blueprint uses, in the version it will use.
    """

    def __init__(
        self,
        tree: SourceTree,
        value: dict[str, Any],
        *,
        prompts: PromptManager,
        providers: Collection[str] | None,
        tools: Collection[str] | None,
    ) -> None:
        self._tree = tree
        self._value = value
        self._prompts = prompts
        self._providers = providers
        self._tools = tools
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.found_prompts: dict[PromptRef, PromptVersion] = {}

    def run(self) -> None:
        """Do all checks."""
        count = self._count(("agents",))
        if not count and isinstance(self._at(("agents",)), (list, type(None))):
            message = "The blueprint has no agents: add files agents/NAME.yaml, or a list 'agents'."
            self.problems.append(self._tree.problem(message, ("agents",), key=True))
        self._providers_exist()
        self._models_are_allowed()
        self._fallbacks_exist()
        self._prices_are_known(count)
        self._supervisor_and_routing()
        check_rules(self._tree, self._value, self.problems)
        check_handoffs(self._tree, self._value, self._prompts, self.found_prompts, self.problems)
        check_memory(self._tree, self._value, self._prompts, self.found_prompts, self.problems)
        check_test_values(self._tree, self._value, self.problems)
        check_mcp(self._tree, self._value, self.problems, self.warnings)
        self.warnings += unused_or_unreached(self._tree, self._value)
        check_approvals(self._tree, self._value, self.problems)
        self._names_differ(count)
        for index in range(count):
            if not is_team(self._at(("agents", index))):
                self._agent(("agents", index))
        middleware = MiddlewareChecker(
            self._tree, self.problems, self._model_names(), self._allowed, self._prompt
        )
        middleware.run(self._value)
        self._examples_differ(count)
        self._knowledge(count)
        self._tests(count)

    def _at(self, path: KeyPath) -> Any:
        """Return what is at `path`, or None where nothing is."""
        raw: Any = self._value
        for key in path:
            if isinstance(raw, list) and isinstance(key, int):
                items = cast(list[Any], raw)
                raw = items[key] if key < len(items) else None
            else:
                raw = cast(dict[Any, Any], raw).get(key) if isinstance(raw, dict) else None
        return raw

    def _count(self, path: KeyPath) -> int:
        raw = self._at(path)
        return len(cast(list[Any], raw)) if isinstance(raw, list) else 0

    def _texts(self, path: KeyPath) -> list[tuple[int, str]]:
        """Return the texts of the list at `path` with their indices."""
        items = ((index, self._at((*path, index))) for index in range(self._count(path)))
        return [(index, item) for index, item in items if isinstance(item, str)]

    def _part(self, model: type[M], path: KeyPath) -> M | None:
        """Return the part at `path`, or None where it does not validate: that is reported already."""
        raw = self._at(path)
        try:
            return model.model_validate({} if raw is None else raw)
        except ValidationError:
            return None

    def _model_names(self) -> list[str]:
        raw = self._value.get("models")
        return [str(name) for name in cast(dict[Any, Any], raw)] if isinstance(raw, dict) else ["main"]

    def _model(self, path: KeyPath, default: str | None = "main") -> None:
        name = self._at(path)
        name = default if name is None else name
        if isinstance(name, str) and name not in self._model_names():
            self._report(unknown_choice("model", name, self._model_names()), path)

    def _providers_exist(self) -> None:
        if self._providers is None:
            return
        valid = {"auto", *self._providers}
        for name in self._model_names():
            path = ("models", name, "provider")
            provider = self._at(path)
            if isinstance(provider, str) and provider not in valid:
                self._report(unknown_choice("provider", provider, valid), path)

    def _models_are_allowed(self) -> None:
        for name in self._model_names():
            path = ("models", name, "use")
            use = self._at(path)
            if isinstance(use, str) and ":" in use:
                self._allowed(use, path)

    def _fallbacks_exist(self) -> None:
        for name in self._model_names():
            for number, fallback in self._texts(("models", name, "fallbacks")):
                path = ("models", name, "fallbacks", number)
                if fallback == name:
                    self._report(f"The model {name!r} cannot fall back to itself.", path)
                elif fallback not in self._model_names():
                    self._report(unknown_choice("model", fallback, self._model_names()), path)

    def _prices_are_known(self, count: int) -> None:
        """A limit in dollars ends a run as soon as what it spent cannot be known."""
        limits = [
            ("limits", "cost_usd"),
            *(("agents", index, "limits", "cost_usd") for index in range(count)),
        ]
        limited = [path for path in limits if self._at(path) is not None]
        unpriced = [
            name
            for name in self._model_names()
            if self._at(("models", name, "price")) is None
            and self._at(("models", name, "provider")) not in ("openai", "anthropic")
        ]
        for path in limited if unpriced else ():
            self._warn(
                f"The price of {', '.join(unpriced)} is unknown, so this limit refuses a second call. "
                "Give the model a price; {input: 0, output: 0} if it costs nothing.",
                path,
            )

    def _supervisor_and_routing(self) -> None:
        self._model(("supervisor", "model"))
        self._prompt("supervisor", ("supervisor", "prompt"), SupervisorSpec().prompt)
        strategy = self._at(("routing", "strategy"))
        if strategy is None or "llm" in [text for _, text in self._texts(("routing", "strategy"))]:
            self._model(("routing", "llm", "model"), None)
            parallel = self._at(("routing", "parallel"))
            several = isinstance(parallel, int) and parallel > 1
            prompt = SEVERAL_PROMPT if several else LlmRoutingSpec().prompt
            self._prompt("routing", ("routing", "llm", "prompt"), prompt)
        self._prompt("combine", ("supervisor", "combine"), None)
        check_summary(self._value, model=self._model, prompt=self._prompt)

    def _names_differ(self, count: int) -> None:
        first: dict[str, Problem] = {}
        for index in range(count):
            path = ("agents", index, "name")
            name = self._at(path)
            if not isinstance(name, str):
                continue
            if name in first:
                place = f"{first[name].file}:{first[name].line}"
                self._report(f"The agent name {name!r} is taken already, in {place}.", path)
            first.setdefault(name, self._tree.problem("", path))

    def _agent(self, path: KeyPath) -> None:
        self._model((*path, "model"))
        self._prompt("agent", (*path, "prompt"), None)
        seen: set[str] = set()
        for number in range(self._count((*path, "tools"))):
            place = (*path, "tools", number)
            tool = self._part(ToolSpec, place)
            if tool is None:
                continue
            if tool.title in seen and tool.mcp is None:
                self._report(f"The tool {tool.title!r} is listed twice.", place)
            seen.add(tool.title)
            self._tool(tool, place)

    def _tool(self, tool: ToolSpec, path: KeyPath) -> None:
        if tool.name and self._tools is not None and tool.name not in self._tools:
            self._report(unknown_choice("tool", tool.name, self._tools), (*path, "name"))
        self._allowed(tool.use, (*path, "use"))

    def _allowed(self, use: str | None, path: KeyPath) -> None:
        security = self._part(SecuritySpec, ("security",))
        if use and security and not is_allowed(use, security.allowed_modules):
            self._report(refusal(use, security.allowed_modules), path)

    def _prompt(self, role: str, path: KeyPath, default: PromptRef | None) -> None:
        written = self._at(path) is not None
        wanted = self._part(PromptRef, path) if written else default
        if wanted is None:
            return
        try:
            prompt = self._prompts.version(wanted.ref, wanted.version)
        except UnknownNameError as error:
            self._report(error.message, (*path, "ref" if error.kind == "prompt" else "version"))
            return
        except PromptError as error:
            self.problems.extend(error.problems)
            return
        self.found_prompts[wanted] = prompt
        given = PROMPT_VARIABLES[role] | wanted.variables.keys()
        self.problems += variable_faults(self._tree, wanted, prompt, PROMPT_VARIABLES[role], path)
        if strange := sorted(prompt.variables.keys() - given):
            self._report(
                f"The prompt {wanted.ref!r} version {prompt.version} needs {', '.join(strange)}, "
                f"but as {role} prompt it gets: {', '.join(sorted(given)) or 'no variables'}. "
                "Give it the others under 'variables'.",
                (*path, "ref"),
            )

    def _knowledge(self, count: int) -> None:
        scopes = [("agents", index, "knowledge_scope") for index in range(count)]
        if any(self._count(path) for path in scopes):
            self._prompt("retrieval", ("knowledge", "prompt"), KnowledgeSpec().prompt)
        fed: set[str] = set()
        for number in range(self._count(("knowledge", "sources"))):
            place = ("knowledge", "sources", number)
            source = self._part(SourceSpec, place)
            if source is None:
                continue
            fed.add(source.scope)
            path = self._tree.resolve(source.path, (*place, "path"))
            if not path.exists():
                message = f"There is no file or folder {str(path)!r}.{nearest_file(path)}"
                self._report(message, (*place, "path"))
        for path in scopes:
            for number, scope in self._texts(path):
                if scope not in fed:
                    message = (
                        f"No source feeds the scope {scope!r}; it holds what 'agentkit ingest' puts there."
                    )
                    self._warn(message, (*path, number))

    def _examples_differ(self, count: int) -> None:
        examples = [(index, self._texts(("agents", index, "examples"))) for index in range(count)]
        counts = Counter(text for _, texts in examples for text in {text for _, text in texts})
        for index, texts in examples:
            for number, text in texts:
                if counts[text] > 1:
                    message = "Another agent has this example too; routing cannot tell them apart."
                    self._warn(message, ("agents", index, "examples", number))

    def _tests(self, count: int) -> None:
        agents = [self._at(("agents", index, "name")) for index in range(count)]
        names = [name for name in agents if isinstance(name, str)]
        tests = [self._at(("tests", index)) for index in range(self._count(("tests",)))]
        for message, path in case_faults(tests, names, self._model_names()):
            self.problems.append(self._tree.problem(message, ("tests", *path), key="mock" in path))

    def _warn(self, message: str, path: KeyPath) -> None:
        self.warnings.append(self._tree.problem(message, path))

    def _report(self, message: str, path: KeyPath) -> None:
        self.problems.append(self._tree.problem(message, path))
