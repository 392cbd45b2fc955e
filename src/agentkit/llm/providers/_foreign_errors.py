"""What an exception of an unknown package says: status, Retry-After, whether it will pass.

Packages agree on little. HTTP clients and SDKs carry a status under one of a few names, here
or on a response; botocore has dictionaries; some wrap the original, so causes are read too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from agentkit.llm.providers._http import retry_after_seconds

_STATUS_NAMES = ("status_code", "http_status", "status", "code")
_ERRORS = range(400, 600)
_EXCERPT = 500
_DEPTH = 5
# Ends of class names: httpx, requests, aiohttp, grpc, botocore and the SDKs over them.
_PASSING = (
    "Timeout",
    "TimeoutError",
    "TimeoutException",
    "ConnectionError",
    "ConnectError",
    "ConnectorError",
    "DeadlineExceeded",
    "NetworkError",
    "ProtocolError",
    "ServerDisconnectedError",
    "ServiceUnavailable",
)
# A connection kept from an event loop that is gone: it is dropped now, and the next one is new.
_LOOP_GONE = "Event loop is closed"
_LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(_DEPTH):
        if current is None:
            return
        yield current
        current = current.__cause__


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _botocore(error: BaseException) -> Mapping[str, Any]:
    return _mapping(_mapping(getattr(error, "response", None)).get("ResponseMetadata"))


def status(error: BaseException) -> int | None:
    """The HTTP status, or None when no package left one."""
    for cause in _causes(error):
        places = (cause, getattr(cause, "response", None))
        candidates: list[Any] = [getattr(place, name, None) for place in places for name in _STATUS_NAMES]
        candidates.append(_botocore(cause).get("HTTPStatusCode"))
        for value in candidates:
            # Not `bool`, and int() for http.HTTPStatus.
            if isinstance(value, int) and int(value) in _ERRORS:
                return int(value)
    return None


def retry_after(error: BaseException) -> float | None:
    """Seconds of `Retry-After`, or None."""
    for cause in _causes(error):
        places = (getattr(cause, "response", None), cause)
        headers: list[Any] = [getattr(place, "headers", None) for place in places]
        for found in (*headers, _botocore(cause).get("HTTPHeaders")):
            getter = getattr(found, "get", None)
            value = (getter("retry-after") or getter("Retry-After")) if callable(getter) else None
            if value is not None:
                return retry_after_seconds(str(value))
    return None


def is_passing(error: BaseException) -> bool:
    """Whether an error without a status is one of the connection or of time."""
    return any(
        isinstance(cause, (TimeoutError, EOFError))
        or (isinstance(cause, OSError) and not isinstance(cause, _LASTING))
        or str(cause) == _LOOP_GONE
        or any(base.__name__.endswith(_PASSING) for base in type(cause).__mro__)
        for cause in _causes(error)
    )


def text(error: BaseException, *, secrets: Sequence[str] = ()) -> str:
    """What it says, cut short and without `secrets`."""
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    for secret in secrets:
        said = said.replace(secret, "***")
    return said[:_EXCERPT]
