"""llama.cpp servers inside this process: one per weights file, shared by all gateways.

llama.cpp's own server (continuous batching, prompt cache, grammars) runs on threads of this
process and is spoken to over loopback HTTP, guarded by a random key so that other users of
the machine cannot use it.
"""

import atexit
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkit.errors import ProviderError
from agentkit.extras import require

# The server notices a gone client, and its own shutdown, when it next writes to the
# connection: at the latest after this many seconds.
_PING_SECONDS = 1
_BATCH = 256
_PROMPT_CACHE_MIB = 512
_HTTP_THREADS = 8


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What makes two servers the same.

    Attributes:
        weights: GGUF file.
        context_tokens: Prompt and answer together.
        threads: Threads that compute.
    """

    weights: Path
    context_tokens: int
    threads: int


@dataclass(slots=True)
class LlamaServer:
    """A running server.

    Attributes:
        url: Its loopback address, `http://127.0.0.1:PORT`.
        api_key: What requests must carry as a bearer token.
    """

    url: str
    api_key: str
    native: Any = field(repr=False)
    owners: set[int] = field(default_factory=set[int], repr=False)


class _Servers:
    """The servers of this process; a server lives as long as somebody owns it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[ServerSpec, LlamaServer] = {}

    def acquire(self, spec: ServerSpec, owner: int) -> LlamaServer:
        """Return the server for `spec`, loading the model if need be. Blocks for about a second.

        Acquiring twice is acquiring once, so a cancelled caller leaks nothing its owner's
        `release` would not give back.
        """
        with self._lock:
            server = self._running.get(spec)
            if server is None:
                server = self._running[spec] = _launch(spec)
            server.owners.add(owner)
            return server

    def release(self, owner: int) -> None:
        """Let go of what `owner` acquired; a server without owners leaves memory. Blocks."""
        with self._lock:
            for spec, server in list(self._running.items()):
                server.owners.discard(owner)
                if not server.owners:
                    del self._running[spec]
                    server.native = None  # its destructor stops the threads

    def close(self) -> None:
        """Stop all servers; for the end of the process."""
        with self._lock:
            while self._running:
                self._running.popitem()[1].native = None  # its destructor stops the threads


servers = _Servers()
# Native threads must end before the interpreter does.
atexit.register(servers.close)


def _launch(spec: ServerSpec) -> LlamaServer:
    llama = require("xllamacpp", extra="local", purpose="The embedded chat model")
    key = secrets.token_hex(16)
    params = llama.CommonParams()
    params.model.path = str(spec.weights)
    params.n_ctx = spec.context_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec.threads
    # Waiting threads sleep. Spinning ones cost a busy machine dearly: measured on two CPUs with
    # other work on them, a short answer took 28 s with llama.cpp's default of 50, 4 s with 0.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.n_threads_http = _HTTP_THREADS
    # Small batches: a cancelled request is noticed between two of them.
    params.n_batch = params.n_ubatch = _BATCH
    params.cache_prompt = True
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.sse_ping_interval = _PING_SECONDS
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.warmup = False
    params.verbosity = -1  # it writes to standard error, past Python's logging
    try:
        native = llama.Server(params)
        # Answered by the server's main loop, so afterwards that runs. A server destroyed between
        # its construction and the start of its loop waits for that loop for ever: `terminate`
        # is forgotten by a `start_loop` that comes after it.
        native.handle_metrics()
    except (RuntimeError, ValueError) as error:
        raise ProviderError(
            f"llama.cpp cannot load {spec.weights}: {error}",
            provider="local",
            hint="The file must be a GGUF model this version supports. `agentkit models list` shows some.",
        ) from error
    return LlamaServer(native.listening_address, key, native)
