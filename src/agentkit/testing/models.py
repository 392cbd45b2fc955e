"""A scripted chat model: no weights, no network, and strict about what it is asked."""

from pathlib import Path
from typing import Self

from langchain_core.messages import BaseMessage

from agentkit.events import EventBus
from agentkit.llm.base import LLMConfig, ProviderContext
from agentkit.llm.chat_model import GatewayChatModel
from agentkit.llm.providers.scripted import Reply, Script, ScriptedProvider
from agentkit.weights import WeightsStore


class ScriptedModel(GatewayChatModel):
    """A `GatewayChatModel` over a script; as a context manager it checks that all was said."""

    @property
    def script(self) -> Script:
        """The script it speaks from."""
        assert isinstance(self.provider, ScriptedProvider)  # noqa: S101 - made by scripted_model
        return self.provider.script

    @property
    def calls(self) -> list[list[BaseMessage]]:
        """The messages of every call so far."""
        return self.script.calls

    def assert_done(self) -> None:
        """Raise ScriptError unless every reply was used."""
        self.script.assert_done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.script.__exit__(kind)


def scripted_model(*replies: Reply, events: EventBus | None = None, name: str = "scripted") -> ScriptedModel:
    """Make a chat model that gives `replies`, one a call, and fails on any further call.

    Args:
        *replies: Text, `ToolUse`, an exception to raise, a pydantic object or mapping to say
            as JSON, or a `Step` for anything else.
        events: Where its calls are reported.
        name: The model's name in metadata.

    Example:
        >>> from agentkit.testing import ToolUse, scripted_model
        >>> with scripted_model("Hello!") as model:
        ...     model.invoke("Hi").text
        'Hello!'
    """
    config = LLMConfig(provider="scripted", model=name, options={"script": Script(*replies)})
    # A scripted model has no weights; the store is never opened.
    provider = ScriptedProvider(config, ProviderContext(WeightsStore(Path("unused"))))
    return ScriptedModel(provider=provider, events=events or EventBus())
