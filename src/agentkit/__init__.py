"""agentkit: LangGraph agents in production.

Everything public is an attribute of this package and loaded at first use, so that
`import agentkit` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit import errors as errors
    from agentkit import testing as testing
    from agentkit.context import RunContext as RunContext
    from agentkit.errors import AgentKitError as AgentKitError
    from agentkit.errors import ProviderError as ProviderError
    from agentkit.graphs.agent import build_agent as build_agent
    from agentkit.graphs.supervisor import build_supervisor as build_supervisor
    from agentkit.llm.gateway import LLMGateway as LLMGateway
    from agentkit.prompts import PromptManager as PromptManager
    from agentkit.prompts import PromptTemplate as PromptTemplate
    from agentkit.prompts import PromptVersion as PromptVersion
    from agentkit.rag.chunking import TextChunker as TextChunker
    from agentkit.rag.retriever import RAGRetriever as RAGRetriever
    from agentkit.rag.vector_store import PgVectorStore as PgVectorStore
    from agentkit.settings import Settings as Settings
    from agentkit.tools import tool as tool
    from agentkit.wiring import Kit as Kit
    from agentkit.wiring import load_blueprint as load_blueprint
    from agentkit.wiring import open_kit as open

_PUBLIC = {
    "AgentKitError": "agentkit.errors:AgentKitError",
    "Kit": "agentkit.wiring:Kit",
    "LLMGateway": "agentkit.llm.gateway:LLMGateway",
    "PgVectorStore": "agentkit.rag.vector_store:PgVectorStore",
    "PromptManager": "agentkit.prompts:PromptManager",
    "PromptTemplate": "agentkit.prompts:PromptTemplate",
    "PromptVersion": "agentkit.prompts:PromptVersion",
    "ProviderError": "agentkit.errors:ProviderError",
    "RAGRetriever": "agentkit.rag.retriever:RAGRetriever",
    "RunContext": "agentkit.context:RunContext",
    "Settings": "agentkit.settings:Settings",
    "TextChunker": "agentkit.rag.chunking:TextChunker",
    "build_agent": "agentkit.graphs.agent:build_agent",
    "build_supervisor": "agentkit.graphs.supervisor:build_supervisor",
    "errors": "agentkit.errors",
    "load_blueprint": "agentkit.wiring:load_blueprint",
    "open": "agentkit.wiring:open_kit",
    "testing": "agentkit.testing",
    "tool": "agentkit.tools:tool",
}

__all__ = [
    "AgentKitError",
    "Kit",
    "LLMGateway",
    "PgVectorStore",
    "PromptManager",
    "PromptTemplate",
    "PromptVersion",
    "ProviderError",
    "RAGRetriever",
    "RunContext",
    "Settings",
    "TextChunker",
    "build_agent",
    "build_supervisor",
    "errors",
    "load_blueprint",
    "open",
    "testing",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'agentkit' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(import_module(module), attribute) if attribute else import_module(module)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
