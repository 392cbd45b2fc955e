"""The providers: one line each here, one file each beside this one.

A provider is a class made as `cls(config, context)`; packages add theirs under the
entry-point group `agentkit.providers`. `auto` is not a provider: the gateway chooses.
"""

from agentkit.llm.base import LLMProvider
from agentkit.registry import Registry

PROVIDERS = Registry[type[LLMProvider]](
    "provider",
    group="agentkit.providers",
    table={
        "anthropic": "agentkit.llm.providers.anthropic:AnthropicProvider",
        "langchain": "agentkit.llm.providers.langchain:LangChainProvider",
        "local": "agentkit.llm.providers.local:LocalProvider",
        "ollama": "agentkit.llm.providers.ollama:OllamaProvider",
        "openai": "agentkit.llm.providers.openai:OpenAIProvider",
        "scripted": "agentkit.llm.providers.scripted:ScriptedProvider",
        "vllm": "agentkit.llm.providers.vllm:VLLMProvider",
    },
)
