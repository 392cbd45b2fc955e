"""Nothing that the libraries below a provider can raise reaches the caller unmapped.

The SDKs' own classes are walked in `test_openai.py` and `test_anthropic.py`; here are those of
Ollama's package, of both HTTP libraries, and of Python.
"""

import inspect
import json
from types import ModuleType
from typing import Any

import httpx
import httpx2
import ollama
import pytest
from pydantic import BaseModel, ValidationError

from agentkit.errors import ProviderError, ProviderTimeoutError
from agentkit.llm import LLMConfig, ProviderContext
from agentkit.llm.base import LLMProvider
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.providers import ollama as ollama_provider
from agentkit.weights import WeightsStore

from .faults import KEY


def provider(name: str) -> LLMProvider:
    options = {} if name == "ollama" else {"api_key": KEY, "base_url": "http://127.0.0.1:9"}
    return PROVIDERS.get(name)(
        LLMConfig(name, model="m", options=options), ProviderContext(WeightsStore("unused"))
    )


def classes(library: ModuleType, *roots: type[Exception]) -> list[type[Exception]]:
    found: set[type[Exception]] = set()
    for root in roots:
        found |= {root, *classes(library, *root.__subclasses__())}
    return sorted(found, key=lambda one: one.__qualname__)


def made(library: ModuleType, kind: type[Exception]) -> Exception:
    """An error of `kind`, with whatever its constructor asks for."""
    request = library.Request("POST", "http://127.0.0.1/")
    known = {"message": "because", "request": request, "response": library.Response(418, request=request)}
    try:
        wanted = inspect.signature(kind).parameters.values()
    except ValueError:
        wanted = ()
    given = {
        one.name: known.get(one.name, "because")
        for one in wanted
        if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }
    return kind(**given)


def mapped(name: str, error: Exception) -> ProviderError:
    """What the provider makes of it, if it catches it at all."""
    one: Any = provider(name)
    caught = ollama_provider._ERRORS if name == "ollama" else one._errors
    assert isinstance(error, caught)
    found = one._mapped(error)
    assert found.provider == name
    assert str(found).strip(": \n") != ""
    return found


def all_of(library: ModuleType) -> list[type[Exception]]:
    return classes(library, library.HTTPError, library.StreamError, library.InvalidURL)


HTTP = [
    (name, library, kind)
    for name, library in (("ollama", httpx), ("openai", httpx2), ("anthropic", httpx2))
    for kind in all_of(library)
]


@pytest.mark.parametrize(("name", "library", "kind"), HTTP)
def test_every_error_of_the_http_library(name: str, library: ModuleType, kind: type[Exception]) -> None:
    error = mapped(name, made(library, kind))
    assert error.is_retryable == (kind is not library.InvalidURL)  # what did not arrive may arrive later
    assert isinstance(error, ProviderTimeoutError) == (kind is library.ConnectTimeout)


def test_the_walk_finds_them() -> None:
    names = {kind.__name__ for _, library, kind in HTTP if library is httpx}
    assert {"ConnectError", "ConnectTimeout", "RemoteProtocolError", "StreamClosed", "InvalidURL"} <= names
    assert len(names) >= 20


@pytest.mark.parametrize("status", [-1, *range(300, 600)])
def test_every_status_of_ollama(status: int) -> None:
    """-1 is an error inside the stream."""
    error = mapped("ollama", ollama.ResponseError("because", status))
    assert error.status == (None if status == -1 else status)
    below = status in (-1, 408, 409, 429)
    assert error.is_retryable == (below or (status >= 500 and status not in (501, 505)))


def not_a(title: str) -> ValidationError:
    model = type(title, (BaseModel,), {"__annotations__": {"field": int}})
    with pytest.raises(ValidationError) as caught:
        model.model_validate({})
    return caught.value


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ollama.RequestError("because"), False),
        (json.JSONDecodeError("because", "x", 0), True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "because"), True),
        (not_a("ChatResponse"), True),  # the answer
        (not_a("ChatRequest"), False),  # an option of the caller's
        (ValueError("LangChain cannot send this message"), False),
        (TypeError("'int' object is not a mapping"), True),
        (KeyError("message"), True),
        (ConnectionResetError("because"), True),
        (ConnectionRefusedError("because"), True),
        (OSError("because"), True),
        (EOFError("because"), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_python_raises_below_ollama(error: Exception, retryable: bool) -> None:
    assert mapped("ollama", error).is_retryable == retryable
