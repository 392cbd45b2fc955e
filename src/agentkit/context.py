"""Who is asking: the identity that travels with one run.

Handed to a graph as `context=` and to services as an argument. Access rules read
it; they never read model output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4


def new_request_id() -> str:
    """Return a fresh request id: 32 lower-case hexadecimal characters."""
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class RunContext:
    """Identity and rights of one run; LangGraph's `context_schema` for every agentkit graph.

    Attributes:
        user: Who asks, as the application knows them.
        tenant: Whose data is searched; documents of other tenants do not exist for this run.
        scopes: Knowledge scopes this run may read at most, or None for all of an
            agent's own. An agent's `knowledge_scope` is intersected with it, so
            neither the model nor a blueprint can widen it.
        values: What the application knows besides, for `${context:NAME}` in blueprints.
        request_id: Correlates logs, metrics and traces of this run.
    """

    user: str = "anonymous"
    tenant: str = "default"
    scopes: frozenset[str] | None = None
    request_id: str = field(default_factory=new_request_id)
    values: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def allowed(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of `scopes` this run may read, in the given order."""
        if self.scopes is None:
            return scopes
        return tuple(scope for scope in scopes if scope in self.scopes)
