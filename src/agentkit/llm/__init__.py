"""The gateway: every call of a chat model goes through here.

Attributes are loaded at first use: settings need the policies' defaults, and not LangChain.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agentkit.llm.base import Health as Health
    from agentkit.llm.base import LLMConfig as LLMConfig
    from agentkit.llm.base import LLMProvider as LLMProvider
    from agentkit.llm.base import LLMResponse as LLMResponse
    from agentkit.llm.base import ModelInfo as ModelInfo
    from agentkit.llm.base import ProviderContext as ProviderContext
    from agentkit.llm.budgets import Limits as Limits
    from agentkit.llm.budgets import budget as budget
    from agentkit.llm.cache.memory import MemoryCache as MemoryCache
    from agentkit.llm.cache.postgres import PostgresCache as PostgresCache
    from agentkit.llm.cache.redis import RedisCache as RedisCache
    from agentkit.llm.chat_model import GatewayChatModel as GatewayChatModel
    from agentkit.llm.gateway import LLMGateway as LLMGateway
    from agentkit.llm.providers import PROVIDERS as PROVIDERS
    from agentkit.llm.resilience.retry import retry_with_backoff as retry_with_backoff

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of SQL migrations that make the response cache's table."""

_HOMES = {
    "PROVIDERS": "providers",
    "GatewayChatModel": "chat_model",
    "LLMGateway": "gateway",
    "Limits": "budgets",
    "budget": "budgets",
    "MemoryCache": "cache.memory",
    "PostgresCache": "cache.postgres",
    "RedisCache": "cache.redis",
    "Health": "base",
    "LLMConfig": "base",
    "LLMProvider": "base",
    "LLMResponse": "base",
    "ModelInfo": "base",
    "ProviderContext": "base",
    "retry_with_backoff": "resilience.retry",
}

__all__ = [
    "MIGRATIONS",
    "PROVIDERS",
    "GatewayChatModel",
    "Health",
    "LLMConfig",
    "LLMGateway",
    "LLMProvider",
    "LLMResponse",
    "Limits",
    "MemoryCache",
    "ModelInfo",
    "PostgresCache",
    "ProviderContext",
    "RedisCache",
    "budget",
    "retry_with_backoff",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
