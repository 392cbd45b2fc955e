"""The rules: what can go wrong upstream, and what must come of it. One line a fault.

Every fault is tried with two attempts allowed, streamed and as a whole, alone and with a healthy
fallback; `test_faults.py` holds each provider to each line.
"""

import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentkit.errors import ProviderError, ProviderTimeoutError, StreamInterruptedError

from .upstream import CUT, HANG, HEADERS, Forever

SHORT = 0.1  # seconds: long enough for loopback, short enough to wait for
KEY = "sk-secret-of-the-test"

OWN = "the status of the protocol's own error object"
Script = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What the upstream does, and what must come of it.

    Attributes:
        name: For people.
        script: What each request meets, given the wire; None where none gets through.
        says: Words in the error (a regular expression); {title}, {hint} are the provider's own.
        status: The error's HTTP status.
        reason: Why a fallback is asked, or would be if `fallback_on` named it.
        requests: Attempts made: 2 if it is worth repeating, 1 if it is not.
        retry_after: What the provider asked for, in seconds, about.
        limit: The timeout that strikes when streamed: its name in `Timeouts`.
        seen: Text the user has read when it happens in a stream; then nobody may start again.
        at: Where the request goes: `upstream`, `refused`, `full`, `plain` (https to a server
            without TLS), `self-signed`, or `mute` (https to a server that says nothing).
    """

    name: str
    script: Script | None
    says: str
    reason: str
    status: int | str | None = None
    requests: int = 2
    retry_after: float | None = None
    limit: str = ""
    seen: str = ""
    at: str = "upstream"


def answered(status: int, says: str, reason: str, requests: int, **headers: Any) -> dict[str, Any]:
    """A response with an error status; its text repeats the key, as some providers do."""

    def script(wire: Any) -> Any:
        named = {
            name.replace("_", "-"): value() if callable(value) else value for name, value in headers.items()
        }
        return status, named, wire.failure(f"because of {KEY}")

    return {
        "name": f"{status} {' '.join(headers)}".strip(),
        "script": script,
        "says": says,
        "status": status,
        "reason": reason,
        "requests": requests,
    }


def stream(*steps: Any) -> Script:
    """A script of steps; functions of the wire among them are asked for theirs."""

    def of(wire: Any) -> list[Any]:
        made: list[Any] = []
        for step in steps:
            one = step(wire) if callable(step) else step
            made += one if isinstance(one, list | tuple) else [one]
        return made

    return of


def role(wire: Any) -> Any:
    """What comes before the first content."""
    return wire.opening


def half(wire: Any) -> Any:
    return wire.said("half")


def alive(wire: Any) -> Any:
    return Forever(wire.alive, 0.01)


def drip(wire: Any) -> Any:
    return Forever(wire.said("half"), 0.01)


def error(wire: Any) -> Any:
    return wire.error


def broken(wire: Any) -> Any:
    return wire.broken


def nonsense(wire: Any) -> Any:
    return wire.nonsense


def in_an_hour() -> str:
    """A date as HTTP writes it."""
    return email.utils.formatdate(time.time() + 3600, usegmt=True)


BROKE_OFF = r"broke off|before the answer was complete|ended before the answer"
LATE = "not complete after"
NO_ANSWER = r"not valid JSON|no answer of Ollama's"

# fmt: off
FAULTS = [
    # The provider says no. Repeated if that may help: never for the caller's own mistakes.
    Fault(**answered(302, "redirects|because of", "invalid", 1, Location="http://127.0.0.1:9/")),
    Fault(**answered(400, "because of", "invalid", 1)),
    Fault(**answered(401, "{hint}", "auth", 1)),
    Fault(**answered(404, "{hint}", "not_found", 1)),
    Fault(**answered(429, "because of", "rate_limit", 2)),
    Fault(**answered(429, "because of", "rate_limit", 2, Retry_After="0.05"), retry_after=0.05),
    # Longer than anybody wants to wait (retry.cap): said at once, and the fallback is asked.
    Fault(**answered(429, "because of", "rate_limit", 1, Retry_After="30"), retry_after=30),
    Fault(**answered(429, "because of", "rate_limit", 1, Retry_After=in_an_hour), retry_after=3600),
    Fault(**answered(500, "because of", "unavailable", 2)),
    Fault(**answered(503, "because of", "unavailable", 2)),

    # It says nothing. Before the first content that is repeated, and a fallback may answer.
    Fault("hang before the first byte", stream(HANG), "said nothing within", "timeout", limit="first_token"),
    Fault("headers, then hang", stream(HEADERS, HANG), "said nothing within", "timeout", limit="first_token"),
    Fault("role, then hang", stream(role, HANG), "said nothing within", "timeout", limit="first_token"),
    Fault("only keep-alives", stream(HEADERS, alive), "said nothing within", "timeout", limit="first_token"),

    # It breaks off before the first content: as above.
    Fault("empty stream", stream(HEADERS), BROKE_OFF, "unavailable"),
    Fault("cut before content", stream(role, CUT), BROKE_OFF, "unavailable"),
    Fault("ends before content", stream(role), BROKE_OFF, "unavailable"),
    Fault("error before content", stream(role, error), "engine died", "unavailable", status=OWN),
    Fault("malformed before content", stream(role, broken), NO_ANSWER, "unavailable"),

    # After the first words: whoever reads a stream is told, with the text so far, and nobody starts again.
    Fault("half, then hang", stream(role, half, HANG), "stopped for", "timeout", limit="idle", seen="half"),
    Fault("half, then alive", stream(role, half, alive), LATE, "timeout", limit="total", seen="half"),
    Fault("drips for ever", stream(role, drip), LATE, "timeout", limit="total", seen="half"),
    Fault("half, then cut", stream(role, half, CUT), BROKE_OFF, "unavailable", seen="half"),
    Fault("half, then ends", stream(role, half), BROKE_OFF, "unavailable", seen="half"),
    Fault("half, then error", stream(role, half, error), "engine died", "unavailable", OWN, seen="half"),
    Fault("half, then malformed", stream(role, half, broken), NO_ANSWER, "unavailable", seen="half"),
    Fault("half, then nonsense", stream(role, half, nonsense), NO_ANSWER, "unavailable", seen="half"),

    # There is no connection.
    Fault("refused", None, "{nobody}", "unavailable", at="refused"),
    Fault("no room", None, "took no connection within", "timeout", limit="connect", at="full"),
    Fault("mute in the handshake", None, "took no connection within", "timeout", limit="connect", at="mute"),
    Fault("https to plain http", None, "Does it speak TLS", "unavailable", at="plain"),
    Fault("self-signed", None, "not one that this machine trusts", "unavailable", at="self-signed"),
]
# fmt: on


def expected(fault: Fault, *, streamed: bool) -> type[ProviderError]:
    """The class of the error that reaches the caller."""
    if streamed and fault.seen:
        return StreamInterruptedError
    return ProviderTimeoutError if fault.limit else ProviderError
