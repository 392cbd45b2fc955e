"""Tools and structured output for models that lack them, and histories that any model can read.

A conversation may begin at one provider and go on at another. `TranslatingProvider` stands
before each of them and says everything in the words that one understands.
"""

from agentkit.llm.translate.provider import TranslatingProvider

__all__ = ["TranslatingProvider"]
