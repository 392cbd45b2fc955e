"""Optional packages: imported at first use, with the pip command when they are missing."""

import importlib
from importlib.util import find_spec
from types import ModuleType

from agentkit.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import and return an optional module.

    Args:
        module: Import name, for example `xllamacpp`.
        extra: Extra of this distribution that brings it, for example `local`.
        purpose: What needs it, as the subject of a sentence: "The local chat model".

    Raises:
        MissingExtraError: It is not installed; the text is the install command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise  # the package is there, something it needs is not: that is its own story
        raise MissingExtraError(module, extra, purpose=purpose) from error


def installed(module: str) -> bool:
    """Whether `module` can be imported, without importing it."""
    return find_spec(module) is not None
