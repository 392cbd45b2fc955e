"""Things named as `module:attribute` in a file: which may be imported, and the import."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from agentkit.errors import ConfigurationError

SETTING = "security.allowed_modules"
"""Where modules are allowed, in a blueprint and in the settings."""


def is_allowed(reference: str, allowed: Collection[str]) -> bool:
    """Whether the module of `reference` is one of `allowed`, or below one. Imports nothing."""
    module = reference.partition(":")[0]
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def refusal(reference: str, allowed: Collection[str]) -> str:
    """Why a reference that is not allowed is refused, and what to do."""
    valid = ", ".join(allowed) or "(none)"
    return f"{reference!r} is not under {SETTING}. Allowed: {valid}. Add its module there if you trust it."


def load(reference: str, *, allowed: Collection[str], kind: str) -> Any:
    """Import what `reference` names. Importing runs the module's code, so it is checked first.

    Args:
        reference: `module:attribute`.
        allowed: Modules it may be taken from, everything below them included.
        kind: What it is wanted as, for the error: "tool", "model".

    Raises:
        ConfigurationError: It is not allowed, or cannot be imported.
    """
    if not is_allowed(reference, allowed):
        raise ConfigurationError(refusal(reference, allowed))
    module, _, attribute = reference.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigurationError(
            f"The {kind} {reference!r} cannot be imported: {type(error).__name__}: {error}",
            hint="Check the spelling, and that the module is installed or on PYTHONPATH.",
        ) from error
