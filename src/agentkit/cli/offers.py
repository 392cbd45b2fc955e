"""What the configured models are, and what their providers offer: asked all at once."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from agentkit.errors import AgentKitError

if TYPE_CHECKING:
    from agentkit.blueprints.models import ModelSpec
    from agentkit.llm.base import LLMConfig, LLMProvider
    from agentkit.llm.gateway import LLMGateway

T = TypeVar("T")

_SECONDS = 15.0  # over the providers' own limits, which say more


@dataclass(frozen=True, slots=True)
class Configured:
    """One model of the settings or of a blueprint.

    Attributes:
        name: Its key under `models`.
        blueprint: Whose it is; None for the settings'.
        provider: Who answers; for `auto`, whom it chose.
        model: The provider's name for it.
        ok: Whether it could answer now.
        detail: Where it is, or why it could not.
        fix: What to do about that.
        context_tokens: Prompt and answer together, or None when unknown.
        native_tools: Whether it calls tools by itself, or None when unknown.
        structured_output: How answers are held to a schema, or None when unknown.
        price: Dollars per million tokens, or None when unknown.
        price_source: `configured`, `list` or `unknown`.
        fallbacks: Names of the models asked when it cannot answer.
    """

    name: str
    blueprint: str | None
    provider: str
    model: str | None
    ok: bool
    detail: str
    fix: str = ""
    context_tokens: int | None = None
    native_tools: bool | None = None
    structured_output: str | None = None
    price: Mapping[str, float | None] | None = None
    price_source: str = "unknown"
    fallbacks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name, after the blueprint's if it is one of those."""
        return self.name if self.blueprint is None else f"{self.blueprint}: {self.name}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one provider offers at one address.

    Attributes:
        provider: Registered name.
        address: Where it was asked; empty for its own address, or for this process.
        models: Names that could be configured.
        detail: Why it could not say.
        fix: What to do about that.
    """

    provider: str
    address: str
    models: tuple[str, ...] = ()
    detail: str = ""
    fix: str = ""


async def survey(
    gateway: "LLMGateway", models: Sequence[tuple[str | None, str, "LLMConfig", "ModelSpec"]]
) -> tuple[list[Configured], list[Offer]]:
    """Ask every model's provider about it, and each address once for all it offers. Does not raise.

    Args:
        gateway: Makes the providers.
        models: Blueprint or None, name, configuration and specification of each.
    """
    answers = await asyncio.gather(*(_configured(gateway, *model) for model in models))
    askable: dict[tuple[str, ...], LLMProvider] = {}
    for _, provider in answers:
        if provider is not None:
            key = str(provider.config.options.get("api_key", ""))  # another key may see other models
            askable.setdefault((provider.name, _address(provider), key), provider)
    offers = await asyncio.gather(*(_offer(provider) for provider in askable.values()))
    return [row for row, _ in answers], offers


async def _configured(
    gateway: "LLMGateway", blueprint: str | None, name: str, config: "LLMConfig", spec: "ModelSpec"
) -> "tuple[Configured, LLMProvider | None]":
    from agentkit.llm.pricing import price_of

    row = Configured(
        name,
        blueprint,
        config.provider,
        config.model or config.use,
        ok=False,
        detail="",
        fallbacks=spec.fallbacks,
    )
    try:
        # Alone: a fallback that cannot be made is its own row.
        provider = gateway.chat_model(replace(config, fallbacks=())).provider.unwrapped
    except AgentKitError as error:
        detail, fix = _split(error)
        return replace(row, detail=detail, fix=fix), None
    health, info = await asyncio.gather(
        _bounded(provider.health_check()), _bounded(provider.get_model_info())
    )
    price, source = price_of(provider)
    row = replace(
        row,
        provider=provider.name,
        model=provider.model,
        price=asdict(price) if price else None,
        price_source=source,
    )
    if isinstance(health, Exception):
        detail, fix = _split(health)
        row = replace(row, detail=detail, fix=fix)
    else:
        detail, _, fix = health.detail.partition("\n")
        row = replace(row, ok=health.ok, detail=detail, fix=fix)
    if not isinstance(info, Exception):
        row = replace(
            row,
            context_tokens=info.context_tokens,
            native_tools=info.native_tools,
            structured_output=info.structured_output,
        )
    return row, provider


async def _offer(provider: "LLMProvider") -> Offer:
    found = await _bounded(provider.list_models())
    offer = Offer(provider.name, _address(provider))
    if isinstance(found, Exception):
        detail, fix = _split(found)
        return replace(offer, detail=detail, fix=fix)
    return replace(offer, models=tuple(found))


async def _bounded(answer: Awaitable[T]) -> T | Exception:
    """The answer, or why there is none: one provider's failure is a row, not the end."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await answer
    except TimeoutError:
        return AgentKitError(f"No answer within {_SECONDS:g} s.", hint="Is the address right?")
    except Exception as error:  # noqa: BLE001 - a plug-in's own, too
        return error


def _address(provider: "LLMProvider") -> str:
    from agentkit.llm.providers._http import shown
    from agentkit.llm.resilience.gate import address

    return shown(address(provider.name, provider.config, provider.context)[1])


def _split(error: Exception) -> tuple[str, str]:
    """Our error texts end with what to do."""
    detail, _, fix = str(error).partition("\n")
    return detail or type(error).__name__, fix
