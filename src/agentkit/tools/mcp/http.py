"""An HTTP client for MCP sessions, in which one failing request is that request's own failure.

The SDK ends a whole session, and every call under way in it, when one request is refused or
cannot be sent, and lets a call wait for ever when its response breaks off. Here such a
failure becomes the JSON-RPC error that answers the request it happened to.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, cast

import httpx

NOT_SENT, BROKEN, REFUSED, OVER = "not sent", "broken off", "refused", "session over"
"""What became of a request: nobody got it; nobody knows; the server would not take it, or not in
this session."""

_KEY = "agentkit"
_CODE = -32000  # JSON-RPC 2.0, section 5.1: the first of the codes servers define themselves
_EVENT_ID = re.compile(rb"(?:^|[\r\n])id:")
_LONGEST_ID = 4
_GOODBYE = 2.0
# The specification says 404; servers made after an example of the TypeScript SDK say 400.
_UNKNOWN_SESSION = (400, 404)


def failure(data: object) -> tuple[str, str] | None:
    """What became of a request and why, from the data of its JSON-RPC error; None if it is the server's."""
    found = cast("Mapping[str, object]", data).get(_KEY) if isinstance(data, Mapping) else None
    if isinstance(found, list | tuple) and len(cast("list[object]", found)) == 2:  # noqa: PLR2004
        kind, why = cast("list[object]", found)
        return str(kind), str(why)
    return None


class Client(httpx.AsyncClient):
    """Answers the requests of a session that fail with JSON-RPC errors; see the module."""

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request; what goes wrong with a POST is in the response."""
        if request.method == "DELETE":
            return await self._say_goodbye(request, stream=stream, **options)
        if request.method != "POST":
            return await super().send(request, stream=stream, **options)
        message = _message(request)
        try:
            response = await super().send(request, stream=stream, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _answer(request, message, NOT_SENT, str(error) or type(error).__name__)
        except httpx.TransportError as error:
            return _answer(request, message, BROKEN, str(error) or type(error).__name__)
        return await _checked(request, message, response)

    async def _say_goodbye(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """The end of a session: nothing depends on whether the server hears of it."""
        request.extensions["timeout"] = httpx.Timeout(_GOODBYE).as_dict()
        with suppress(httpx.HTTPError):
            await (await super().send(request, **options)).aclose()
        return httpx.Response(204, request=request)


async def _checked(
    request: httpx.Request, message: Mapping[str, Any], response: httpx.Response
) -> httpx.Response:
    """The response, if the SDK can read it to its end and go on afterwards."""
    if response.is_error:
        await response.aclose()
        over = "mcp-session-id" in request.headers and response.status_code in _UNKNOWN_SESSION
        why = f"HTTP {response.status_code} {response.reason_phrase}"
        return _answer(request, message, OVER if over else REFUSED, why)
    if response.is_success and "id" in message and "method" in message:
        return await _readable(request, message, response)
    return response


async def _readable(
    request: httpx.Request, message: Mapping[str, Any], response: httpx.Response
) -> httpx.Response:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        response.stream = _Whole(cast("httpx.AsyncByteStream", response.stream), message["id"])
        return response
    if kind != "application/json":
        await response.aclose()
        return _answer(request, message, REFUSED, f"it answered with {kind or 'nothing'}, not as MCP does")
    try:
        json.loads(await response.aread())
    except httpx.TransportError as error:
        return _answer(request, message, BROKEN, str(error) or type(error).__name__)
    except ValueError:
        return _answer(request, message, REFUSED, "what it called JSON is none")
    return response


class _Whole(httpx.AsyncByteStream):
    """An event stream that, if it breaks off, ends with an error in place of the missing answer.

    One whose events have ids is left alone: the SDK resumes it.
    """

    def __init__(self, stream: httpx.AsyncByteStream, number: object) -> None:
        self._stream = stream
        self._number = number

    async def __aiter__(self) -> AsyncIterator[bytes]:
        tail, resumable, why = b"", False, "the stream ended without an answer"
        try:
            async for chunk in self._stream:
                resumable = resumable or _EVENT_ID.search(tail + chunk) is not None
                tail = chunk[-_LONGEST_ID:]
                yield chunk
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
        if not resumable:
            # The SDK stops reading at an answer, so that here there was none.
            yield b"\n\nevent: message\ndata: " + _error(self._number, BROKEN, why) + b"\n\n"

    async def aclose(self) -> None:
        await self._stream.aclose()


def _message(request: httpx.Request) -> Mapping[str, Any]:
    found: object = json.loads(request.content)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _answer(request: httpx.Request, message: Mapping[str, Any], kind: str, why: str) -> httpx.Response:
    if "id" not in message or "method" not in message:  # nobody waits for an answer
        return httpx.Response(202, request=request)
    headers = {"content-type": "application/json"}
    return httpx.Response(200, headers=headers, content=_error(message["id"], kind, why), request=request)


def _error(number: object, kind: str, why: str) -> bytes:
    error = {"code": _CODE, "message": f"{kind}: {why}", "data": {_KEY: [kind, why]}}
    return json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()
