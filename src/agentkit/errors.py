"""Every error agentkit raises, as one tree.

::

    AgentKitError
    ├── ConfigurationError            the developer's to fix: YAML, settings, names
    │   ├── SettingsError             .problems: every wrong setting at once
    │   ├── BlueprintError            .problems: every fault as file:line:column
    │   ├── BlueprintUnavailableError a thread waits in what cannot be built again: .thread_id .digest
    │   ├── PromptError               .problems: every fault of a prompt file; or a wrong variable
    │   ├── UnknownNameError          .choices, .nearest (also a LookupError)
    │   ├── DuplicateNameError        a registry already holds the name
    │   └── MissingExtraError         .package, .extra: the pip command is in the text
    ├── ProviderError                 a model provider failed: .provider .status .retry_after .is_retryable
    │   ├── CircuitOpenError          not tried: it failed too often; .retry_in seconds
    │   ├── ProviderTimeoutError      .kind: connect, queue, first_token, idle or total
    │   ├── StreamInterruptedError    it broke off in mid-answer: .partial is the text so far
    │   └── ScriptError               the scripted model met a call its script does not have
    ├── BudgetExceededError           not tried: .limit is spent; .spent, .allowed
    ├── SandboxError                  code could not be run; it was not the code's fault
    │   └── SandboxUnavailableError   nothing here can isolate code: .reasons by backend
    ├── AgentError                    .agent: it could not do its part in a team's answer
    │   └── AgentTimeoutError         it took longer than .seconds, its limits.timeout
    ├── McpServerError                .server: an MCP server cannot be reached, refuses, or broke off
    ├── ContentRefusedError           not shown to a model: it holds .kind of personal data
    ├── PauseError                    .thread_id, .pending: about a turn that waits for a person
    │   ├── ThreadPausedError         a message was sent to it: what waits is answered first
    │   ├── UnknownInterruptError     .interrupt: nobody waits for that, or no longer
    │   └── DecisionError             .interrupt: not allowed there, or its arguments do not fit
    ├── StructuredOutputError         the model's answer does not fit the schema asked for
    ├── WeightsError                  model weights are missing, corrupted or cannot be fetched
    ├── DatabaseError                 PostgreSQL is unreachable, too old or refused
    │   └── MigrationError            a migration failed, or an applied one was edited
    ├── EmbeddingError                vectors of another model or dimension, or none returned
    └── DocumentError                 .source: a file that cannot be read or ingested

`code` is stable and machine-readable; `hint` says what to do next and is part of the text.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


class AgentKitError(Exception):
    """Base of every error raised on purpose by agentkit.

    Args:
        message: What went wrong, in one sentence.
        hint: What the reader can do about it; appended to the text.
    """

    code: ClassVar[str] = "agentkit_error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint


class ConfigurationError(AgentKitError):
    """Something the developer wrote (YAML, settings, a name) is wrong."""

    code = "configuration_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a file, placed so that an editor can jump to it.

    Attributes:
        message: What is wrong, with the valid choices where there are any.
        file: Path as the user gave it, or the name of the setting's source.
        line: 1-based line, 0 when the whole file is meant.
        column: 1-based column, 0 when the whole line is meant.
        excerpt: The offending line, without its line break.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    excerpt: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{place}: {self.message}" if place else self.message
        if not self.excerpt.strip():
            return text
        pointer = f"\n    {' ' * (self.column - 1)}^" if self.column else ""
        return f"{text}\n    {self.excerpt}{pointer}"


class _ProblemsError(ConfigurationError):
    """A configuration error that lists all its problems, not only the first."""

    def __init__(self, headline: str, problems: Sequence[Problem] = (), *, hint: str | None = None) -> None:
        body = "\n".join(str(problem) for problem in problems)
        super().__init__(f"{headline}\n{body}" if problems else headline, hint=hint)
        self.headline = headline
        self.problems = tuple(problems)


class SettingsError(_ProblemsError):
    """Settings from the environment, `.env` or `agentkit.yaml` are invalid."""

    code = "settings_error"


class BlueprintError(_ProblemsError):
    """A blueprint does not validate; `problems` holds every fault found."""

    code = "blueprint_error"


class BlueprintUnavailableError(ConfigurationError):
    """A paused thread cannot go on: what it was paused in cannot be built again.

    `digest` is of the blueprint the thread is on.
    """

    code = "blueprint_unavailable"

    def __init__(self, thread_id: str, digest: str, reason: str) -> None:
        super().__init__(
            f"The thread {thread_id!r} waits in an earlier state of the blueprint "
            f"(digest {digest[:12] or 'unknown'}), which cannot be built again: {reason}",
            hint="Restore what is missing and go on; or give up the step that waits, with "
            "LiveBlueprint.abandon(thread_id); or begin a new thread.",
        )
        self.thread_id = thread_id
        self.digest = digest


class PromptError(_ProblemsError):
    """A prompt file or variable is wrong; `problems` holds every fault of a file."""

    code = "prompt_error"


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `name`, or None when none is close."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(kind: str, value: object, choices: Iterable[str]) -> str:
    """Say that `value` is none of `choices`, and which is most like it."""
    choices = list(choices)
    near = nearest(str(value), choices)
    guess = f" Did you mean {near!r}?" if near else ""
    return f"Unknown {kind} {value!r}.{guess} Valid: {', '.join(choices) or 'none'}."


class UnknownNameError(ConfigurationError, LookupError):
    """A name is not registered; the text lists the valid ones and the nearest."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, choices: Iterable[str], *, hint: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.choices = tuple(sorted(choices))
        self.nearest = nearest(name, self.choices)
        guess = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        valid = f" Valid: {', '.join(self.choices)}." if self.choices else f" There is no {kind} yet."
        super().__init__(f"Unknown {kind} {name!r}.{guess}{valid}", hint=hint)


class DuplicateNameError(ConfigurationError):
    """A registry refuses to replace an entry silently."""

    code = "duplicate_name"

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"The {kind} {name!r} is registered already.", hint="Choose another name.")


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is not installed; the text is the command that installs it."""

    code = "missing_extra"

    def __init__(self, package: str, extra: str, *, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.",
            hint=f"Install it with: pip install 'langgraph-agentkit[{extra}]'",
        )


class ProviderError(AgentKitError):
    """A model provider failed. Wrappers (retry, breaker, fallback) read only these fields.

    Args:
        message: What the provider said, without secrets.
        provider: Registered provider name, for example `ollama`.
        status: HTTP status, or None when no response arrived.
        retry_after: Seconds the provider asked to wait, or None.
        is_retryable: Whether the same request may succeed later.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        retry_after: float | None = None,
        is_retryable: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.status = status
        self.retry_after = retry_after
        self.is_retryable = is_retryable


class CircuitOpenError(ProviderError):
    """The provider failed too often and is left alone for a while; `retry_in` is in seconds."""

    code = "circuit_open"

    def __init__(self, message: str, *, provider: str, retry_in: float, hint: str | None = None) -> None:
        super().__init__(message, provider=provider, hint=hint)
        self.retry_in = retry_in


class ProviderTimeoutError(ProviderError):
    """The provider was too slow; `kind` says at what.

    `queue` says nothing about the provider: too many calls of our own were before this one.
    To join the same queue again makes no sense, so that one is not retryable.
    """

    code = "provider_timeout"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        kind: Literal["connect", "queue", "first_token", "idle", "total"],
        hint: str | None = None,
    ) -> None:
        super().__init__(message, provider=provider, is_retryable=kind != "queue", hint=hint)
        self.kind = kind


class StreamInterruptedError(ProviderError):
    """The answer broke off after its first words: nobody may start it again unasked.

    `partial` is the text that had arrived; the cause is the provider's own error.
    """

    code = "stream_interrupted"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        partial: str,
        status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, provider=provider, status=status, hint=hint)
        self.partial = partial


class ScriptError(ProviderError):
    """The scripted model was called outside its script, or steps were left over."""

    code = "script_error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, provider="scripted", hint=hint)


class BudgetExceededError(AgentKitError):
    """A run has spent what it may; the next model call was not made.

    Args:
        message: What is spent, in one sentence.
        limit: Which limit: `tokens`, `cost_usd` or `model_calls`.
        spent: How much of it is, or None when that is unknown.
        allowed: The limit itself.
        of: Whether the limit is an agent's or a team's, which then answers instead; None where
            nobody does, as in a `budget()` block.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limit: Literal["tokens", "cost_usd", "model_calls"],
        spent: float | None,
        allowed: float,
        of: Literal["agent", "team"] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.of: Literal["agent", "team"] | None = of
        self.limit: Literal["tokens", "cost_usd", "model_calls"] = limit
        self.spent = spent
        self.allowed = allowed


class McpServerError(AgentKitError):
    """An MCP server cannot be reached or failed; `server` is its name in the blueprint.

    `message` is fit for a model's eyes; addresses and what the server said are in `hint`.
    """

    code = "mcp_server_error"

    def __init__(self, message: str, *, server: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.server = server


class ContentRefusedError(AgentKitError):
    """A message holds what the blueprint keeps from its models; `kind` is what: `email`."""

    code = "content_refused"

    def __init__(self, message: str, *, kind: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class StructuredOutputError(AgentKitError):
    """The model's answer does not fit the requested schema."""

    code = "structured_output_error"


class WeightsError(AgentKitError):
    """Model weights are missing, corrupted, or cannot be fetched."""

    code = "weights_error"


class DatabaseError(AgentKitError):
    """PostgreSQL is unreachable, refuses, or lacks pgvector."""

    code = "database_error"


class MigrationError(DatabaseError):
    """A migration failed, or one that was applied has been edited since."""

    code = "migration_error"


class EmbeddingError(AgentKitError):
    """Vectors are missing, or belong to another model or dimension."""

    code = "embedding_error"


class DocumentError(AgentKitError):
    """One document cannot be read, chunked or stored; others are unaffected."""

    code = "document_error"

    def __init__(self, source: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{source}: {message}", hint=hint)
        self.source = source


class SandboxError(AgentKitError):
    """Foreign code could not be run, for a reason that is not the code's."""

    code = "sandbox_error"


class SandboxUnavailableError(SandboxError):
    """Nothing on this machine can isolate foreign code; it is never run without.

    Args:
        reasons: Why not and what to do, by backend, in the order they were tried.
    """

    code = "sandbox_unavailable"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        listed = "\n".join(f"  {name}: {reason}" for name, reason in self.reasons.items())
        super().__init__(f"No sandbox works here, so code is not run.\n{listed}")


class AgentError(AgentKitError):
    """An agent of a team could not do its part; `agent` is its name."""

    code = "agent_error"

    def __init__(self, message: str, *, agent: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.agent = agent


class AgentTimeoutError(AgentError):
    """An agent took longer than its `limits.timeout`; `seconds` is that."""

    code = "agent_timeout"

    def __init__(self, agent: str, seconds: float) -> None:
        super().__init__(
            f"The agent {agent!r} did not answer within {seconds:g} s.",
            agent=agent,
            hint="Raise its limits.timeout, or ask for less.",
        )
        self.seconds = seconds


class PauseError(AgentKitError):
    """Something about a turn that waits for a person; nothing was run, and all of it still waits.

    Args:
        message: What is wrong, in one sentence.
        thread_id: The conversation.
        pending: Ids of the interrupts that wait there.
    """

    code = "pause_error"

    def __init__(
        self, message: str, *, thread_id: str, pending: Iterable[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.thread_id = thread_id
        self.pending = tuple(pending)


class ThreadPausedError(PauseError):
    """A message was sent to a thread that waits for a person."""

    code = "thread_paused"

    def __init__(self, thread_id: str, pending: Iterable[str]) -> None:
        pending = tuple(pending)
        super().__init__(
            f"The thread {thread_id!r} waits for a decision on {', '.join(pending)}.",
            thread_id=thread_id,
            pending=pending,
            hint="Answer it with ChatService.resume or 'agentkit resume', or go on in a new thread.",
        )


class UnknownInterruptError(PauseError):
    """An answer to an interrupt that does not wait: never did, or was answered; `interrupt` is its id."""

    code = "unknown_interrupt"

    def __init__(self, interrupt: str, *, thread_id: str, pending: Iterable[str]) -> None:
        pending = tuple(pending)
        self.interrupt = interrupt
        waits = f"There wait: {', '.join(pending)}." if pending else "Nothing waits there."
        super().__init__(
            f"No interrupt {interrupt!r} waits in the thread {thread_id!r}: it was answered already, "
            f"or never was. {waits}",
            thread_id=thread_id,
            pending=pending,
        )


class DecisionError(PauseError):
    """A decision that is not allowed, or whose arguments do not fit; `interrupt` is what it was for."""

    code = "decision_error"

    def __init__(
        self,
        message: str,
        *,
        interrupt: str = "",
        thread_id: str,
        pending: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, thread_id=thread_id, pending=pending, hint=hint)
        self.interrupt = interrupt
