"""What the gateway makes of a model described in YAML."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentkit.blueprints.models import ModelSpec
from agentkit.llm.base import LLMConfig
from agentkit.llm.policies import BreakerPolicy, Price, RetryPolicy, Timeouts
from agentkit.llm.providers.scripted import Script


def model_config(
    name: str, models: Mapping[str, ModelSpec], *, allowed_modules: Sequence[str] = ()
) -> LLMConfig:
    """The gateway's configuration for a model, fallbacks included.

    Args:
        name: Key in `models`.
        models: Models its fallbacks are found in.
        allowed_modules: Modules its `use` may name.
    """
    spec = models[name]
    fallbacks = tuple(_alone(models[fallback], allowed_modules) for fallback in spec.fallbacks)
    return replace(_alone(spec, allowed_modules), fallbacks=fallbacks, fallback_on=spec.fallback_on)


def scripted_config(config: LLMConfig, script: Script) -> LLMConfig:
    """The configuration of a model that says what a script says, priced and bounded as before."""
    return replace(
        config,
        provider="scripted",
        fallbacks=(),
        concurrency=None,
        cache=None,
        tool_calls="auto",
        use=None,
        allowed_modules=(),
        options={"script": script},
    )


def _alone(spec: ModelSpec, allowed_modules: Sequence[str]) -> LLMConfig:
    """The configuration without fallbacks: those of a fallback do not count."""
    limits = Timeouts() if spec.timeout is None else Timeouts(**spec.timeout.model_dump())
    return LLMConfig(
        provider="langchain" if spec.use else spec.provider,
        model=spec.model,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        timeout=limits,
        retry=RetryPolicy(**spec.retry.model_dump()),
        breaker=BreakerPolicy(**spec.breaker.model_dump()),
        price=None if spec.price is None else Price(**spec.price.model_dump()),
        concurrency=spec.concurrency,
        cache=spec.cache,
        tool_calls=spec.tool_calls,
        use=spec.use,
        allowed_modules=tuple(allowed_modules) if spec.use else (),
        options=spec.options,
    )
