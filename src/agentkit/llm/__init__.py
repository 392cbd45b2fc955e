"""The gateway: every call of a chat model goes through here."""

from agentkit.llm.base import Health, LLMConfig, LLMProvider, LLMResponse, ModelInfo, ProviderContext
from agentkit.llm.chat_model import GatewayChatModel
from agentkit.llm.gateway import LLMGateway
from agentkit.llm.providers import PROVIDERS

__all__ = [
    "PROVIDERS",
    "GatewayChatModel",
    "Health",
    "LLMConfig",
    "LLMGateway",
    "LLMProvider",
    "LLMResponse",
    "ModelInfo",
    "ProviderContext",
]
