"""Options that hold secrets: wrapped until the client they are for needs them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import SecretStr

_PART = 8  # shorter pieces of a secret, like "Bearer", are words


def reveal(value: Any) -> Any:
    """Return `value` with every `SecretStr` in it, however deep, as plain text."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key: reveal(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in cast("Sequence[Any]", value)]
    return value


def hide(text: str, value: Any, *, shortest: int = 0) -> str:
    """Return `text` with every secret in `value`, and every long word of one, as `***`.

    Args:
        text: An error, usually.
        value: What may hold secrets, however deep.
        shortest: Secrets with fewer characters stay; for texts that a short one, which may be
            a common word, would make useless.
    """
    for secret in secrets_in(value):
        if len(secret) >= shortest:
            text = text.replace(secret, "***")
    return text


def hide_in(data: Any, value: Any) -> Any:
    """Return `data` with `hide` done to every text in it, secrets that could be words aside."""
    if isinstance(data, str):
        return hide(data, value, shortest=_PART)
    if isinstance(data, Mapping):
        return {key: hide_in(item, value) for key, item in cast("Mapping[Any, Any]", data).items()}
    if isinstance(data, list | tuple):
        return [hide_in(item, value) for item in cast("Sequence[Any]", data)]
    return data


def secrets_in(value: Any) -> list[str]:
    """The secrets in `value` in plain text, and every long word of one; the longest first."""
    return sorted(set(_secrets(value)), key=len, reverse=True)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        yield from (secret,) if secret else ()
        yield from (part for part in secret.split() if len(part) >= _PART)
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from _secrets(item)
