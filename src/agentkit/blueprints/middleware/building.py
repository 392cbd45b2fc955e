"""From the key `middleware` to an agent's middleware."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware
from pydantic import ValidationError

from agentkit.blueprints.middleware import MIDDLEWARE, own_type
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.errors import AgentKitError, ConfigurationError
from agentkit.references import load

Entry = Mapping[str, Any]
AnyMiddleware = AgentMiddleware[Any, Any, Any]


def build_middleware(
    everyones: Sequence[Entry], own: Sequence[Entry], parts: MiddlewareParts, *, allowed: Collection[str]
) -> list[AnyMiddleware]:
    """Make an agent's middleware, outermost first.

    Args:
        everyones: The blueprint's entries, which every agent has.
        own: The agent's; one of the same kind takes the place of the blueprint's.
        parts: What they are made of.
        allowed: Modules that `use` may take one from.

    Raises:
        ConfigurationError: One cannot be made: its options are wrong, its module is not allowed
            or cannot be imported, or two have the same name.
        UnknownNameError: A name, or a tool in its options, is unknown.
    """
    entries = {_identity(entry): entry for entry in everyones}
    entries |= {_identity(entry): entry for entry in own}
    made = [_made(entry, parts, allowed) for entry in entries.values()]
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"The agent {parts.agent!r} has two middlewares called {name!r}.")
    return made


def _identity(entry: Entry) -> tuple[str, object]:
    """What makes two entries the same: the kind, and for some kinds what it is for."""
    if "use" in entry:
        return "use", entry["use"]
    ((name, options),) = entry.items()
    kind = own_type(name)
    return name, options.get(kind.each) if kind and kind.each else None


def _made(entry: Entry, parts: MiddlewareParts, allowed: Collection[str]) -> AnyMiddleware:
    used = "use" in entry
    name = str(entry["use"] if used else next(iter(entry)))
    options = cast("dict[str, Any]", entry.get("options", {}) if used else entry[name])
    try:
        kind: object = load(name, allowed=allowed, kind="middleware") if used else MIDDLEWARE.get(name)
        return _one(kind, name, options, parts)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(
            f"The options of the middleware {name!r} of {parts.agent!r} are wrong: {faults}"
        ) from error
    except AgentKitError:
        raise
    except Exception as error:  # whatever its own code raises
        raise ConfigurationError(
            f"The middleware {name!r} of {parts.agent!r} cannot be made: {type(error).__name__}: {error}"
        ) from error


def _one(kind: object, name: str, options: Mapping[str, Any], parts: MiddlewareParts) -> AnyMiddleware:
    """Make one of a kind, of a class or function that takes its options, or of what is one already."""
    made: object = kind
    if isinstance(kind, MiddlewareType):
        made = kind.build(kind.options.model_validate(options), parts)
    elif callable(kind):
        made = kind(**options)
    elif options:
        raise ConfigurationError(f"The middleware {name!r} is made already and takes no options.")
    if not isinstance(made, AgentMiddleware):
        raise ConfigurationError(f"The middleware {name!r} is no LangChain AgentMiddleware.")
    return cast("AnyMiddleware", made)
