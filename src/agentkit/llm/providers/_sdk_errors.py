"""What an exception of a vendor's SDK carries, whichever SDK: read from its fields, not its class."""

from typing import Any, cast

from agentkit.llm.providers._http import REDIRECTS

_ERRORS = range(400, 600)

# Errors inside a stream come with status 200: their type or code says what they would have been.
_STATUS_OF = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
SPENT = frozenset({"insufficient_quota", "contract_spend_limit_reached", "enforced_spend_limit_reached"})
"""Words of a 429 that only money mends."""


def _body(error: Exception) -> dict[str, Any]:
    """The error object: OpenAI's SDK has unwrapped it, Anthropic's has not."""
    body = getattr(error, "body", None)
    if not isinstance(body, dict):
        return {}
    fields = cast("dict[str, Any]", body)
    inner = fields.get("error")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else fields


def words(error: Exception) -> set[str]:
    """What the provider calls the error: its type, and its codes."""
    body = _body(error)
    details = body.get("details")
    inner = cast("dict[str, Any]", details).get("error_code") if isinstance(details, dict) else None
    return {str(word) for word in (body.get("type"), body.get("code"), inner) if word is not None}


def status(error: Exception) -> int | None:
    """The HTTP status, or what it would have been had the error not come inside a stream."""
    answered = getattr(error, "status_code", None)
    if isinstance(answered, int) and answered in _ERRORS:
        return answered
    for word in sorted(words(error)):
        if word.isdecimal() and int(word) in _ERRORS:  # vLLM gives the status as code
            return int(word)
    return next((_STATUS_OF[word] for word in sorted(words(error)) if word in _STATUS_OF), None)


def text(error: Exception) -> str:
    """What the provider said, else what the SDK says."""
    if isinstance(whole := getattr(error, "body", None), str) and whole:
        return whole
    body = _body(error)
    return str(body.get("message") or body.get("detail") or getattr(error, "message", None) or error)


def redirect(error: Exception) -> int | None:
    """The status of a response that sends the caller elsewhere."""
    answered = getattr(error, "status_code", None)
    return answered if isinstance(answered, int) and answered in REDIRECTS else None
