"""Middleware around an agent's model that costs what it does, and no more."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, TypeVar

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ExtendedModelResponse
from langgraph.types import TracePolicy

from agentkit.context import RunContext

S = TypeVar("S", bound=AgentState[Any])

Asked = ModelResponse[Any] | ExtendedModelResponse[Any]
Handler = Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]]


class AroundModel(AgentMiddleware[S, RunContext, Any]):
    """Stands around each call of an agent's model.

    LangChain wraps every `awrap_model_call` for LangSmith. Around a coroutine function that costs
    a task and two hops to other threads, 0.5 ms a call and middleware, whether anything is traced
    or not; around a plain function next to nothing. The span it leaves in a trace is then empty;
    the model's own run stands beside it. For middleware that has nothing else to trace.
    """

    trace_policy = TracePolicy(process_inputs=lambda _: {}, process_outputs=lambda _: {})

    def awrap_model_call(
        self, request: ModelRequest[RunContext], handler: Handler
    ) -> "CoroutineType[Any, Any, Asked]":
        """Return `around_model`, not yet begun."""
        return self.around_model(request, handler)

    @abstractmethod
    async def around_model(self, request: ModelRequest[RunContext], handler: Handler) -> Asked:
        """Ask the model by `handler`, or do something else; as LangChain's `awrap_model_call`."""
