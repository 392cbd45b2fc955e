"""What HTTP providers have in common: whom they trust, and what statuses and errors mean."""

import math
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from urllib.parse import urlsplit

import httpx

from agentkit.errors import ProviderError, ProviderTimeoutError
from agentkit.llm.base import LLMProvider

REDIRECTS = range(300, 400)
_RETRYABLE_BELOW_500 = frozenset({408, 409, 429})
_NOT_RETRYABLE_FROM_500 = frozenset({501, 505})


@cache
def trust() -> ssl.SSLContext:
    """The certificate authorities that count: the machine's own, and those that come with httpx.

    One for all clients: reading the files takes 25 to 50 ms, each time, on the event loop.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()  # a company's own authority; OpenSSL looks at SSL_CERT_FILE too
    return context


def retryable(status: int) -> bool:
    """Whether a request refused with `status` may succeed later."""
    return status in _RETRYABLE_BELOW_500 or (status >= 500 and status not in _NOT_RETRYABLE_FROM_500)  # noqa: PLR2004


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait; None when it says nothing."""
    return retry_after_seconds(headers.get("retry-after"))


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds from `Retry-After`: a number, or a date (RFC 9110 §10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, outermost first, also where `from None` hides it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def never_connected(error: BaseException) -> bool:
    """Whether an SDK's or HTTP library's error is the end of the wait for a connection."""
    # By name: httpx and httpx2 each have their own class.
    return any(type(cause).__name__ == "ConnectTimeout" for cause in causes(error))


def connect_timeout(provider: LLMProvider, title: str, url: str) -> ProviderTimeoutError:
    """The error for a connection that did not stand within `timeout.connect`."""
    return ProviderTimeoutError(
        f"{title} at {shown(url)} took no connection within {provider.config.timeouts.connect:g} s.",
        provider=provider.name,
        kind="connect",
        hint="Is the address right and reachable? Raise timeout.connect, or name a fallback.",
    )


def redirected(provider: LLMProvider, title: str, url: str, status: int) -> ProviderError:
    """The error for an address that sends its callers elsewhere."""
    return provider.error(
        f"{title} at {shown(url)} redirects ({status}), and redirects are not followed.",
        status=status,
        hint="Set the address that the API really has.",
    )


def shown(url: str) -> str:
    """An address without the user name and password it may carry."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def certificate_hint(error: BaseException) -> str | None:
    """What to do about a TLS handshake that failed, or None if it was something else."""
    words = " ".join(f"{type(cause).__name__} {cause}" for cause in causes(error))
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            "Its certificate is not one that this machine trusts. Install the authority that signed it, "
            "or name its file in SSL_CERT_FILE."
        )
    return "Does it speak TLS? An address without it begins with http://." if "SSL" in words else None
