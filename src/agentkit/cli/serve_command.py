"""The command line that serves a model for a provider that is a server of your own.

Every flag is vLLM's, see https://docs.vllm.ai/en/latest/cli/serve.html. agentkit prints the
command and never runs it: where the GPUs are is seldom where agentkit is.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from agentkit.errors import ConfigurationError

if TYPE_CHECKING:
    from agentkit.blueprints.models import ModelSpec

KEY_VARIABLE = "VLLM_API_KEY"  # vLLM reads it itself: an argument would be seen in the list of processes
_NO_KEY = "EMPTY"


class Engine(StrEnum):
    """What serves."""

    vllm = "vllm"


class Backend(StrEnum):
    """vLLM's libraries for structured outputs."""

    auto = "auto"
    xgrammar = "xgrammar"
    guidance = "guidance"
    outlines = "outlines"
    lm_format_enforcer = "lm-format-enforcer"


@dataclass(frozen=True, slots=True)
class Serve:
    """What `vllm serve` is told; None leaves it to vLLM.

    Attributes:
        model: Hugging Face name or path of the weights.
        served_model_name: Name it answers to; None: `model`.
        host: Address it listens on; None: all of the machine's.
        port: Port it listens on.
        needs_key: Whether callers need the key in `VLLM_API_KEY`.
        tensor_parallel_size: GPUs one model is spread over.
        max_model_len: Longest prompt and answer together, in tokens.
        gpu_memory_utilization: Share of each GPU's memory it may take, above 0 up to 1.
        max_num_seqs: Most requests at once.
        quantization: How the weights are quantized, where they do not say.
        tool_call_parser: Reads the tool calls the model writes; None: no tools.
        structured_outputs: Library that holds answers to a schema.
    """

    model: str
    served_model_name: str | None = None
    host: str | None = None
    port: int | None = None
    needs_key: bool = False
    tensor_parallel_size: int | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = None
    quantization: str | None = None
    tool_call_parser: str | None = None
    structured_outputs: str | None = None

    def parts(self) -> list[str]:
        """The command, a flag and its value together, quoted for a POSIX shell."""
        flags: dict[str, object] = {
            "--served-model-name": self.served_model_name,
            "--host": self.host,
            "--port": self.port,
            "--tensor-parallel-size": self.tensor_parallel_size,
            "--max-model-len": self.max_model_len,
            "--gpu-memory-utilization": self.gpu_memory_utilization,
            "--max-num-seqs": self.max_num_seqs,
            "--quantization": self.quantization,
            "--tool-call-parser": self.tool_call_parser,
            "--structured-outputs-config.backend": self.structured_outputs,
        }
        # `:?` stops the shell with a message; vLLM would start without asking for a key.
        key = [f'{KEY_VARIABLE}="${{{KEY_VARIABLE}:?}}"'] if self.needs_key else []
        start = " ".join([*key, shlex.join(["vllm", "serve", self.model])])
        valued = [shlex.join([flag, str(value)]) for flag, value in flags.items() if value is not None]
        return [start, *(["--enable-auto-tool-choice"] if self.tool_call_parser else []), *valued]


def configured(name: str | None, models: "dict[str, ModelSpec]") -> "ModelSpec | None":
    """The model of provider `vllm` that is meant: the one named, or the only one; None if there is none.

    Raises:
        UnknownNameError: No model has that name.
        ConfigurationError: It is another provider's, or there are several.
    """
    from agentkit.errors import UnknownNameError

    served = [key for key, spec in models.items() if spec.provider == "vllm"]
    if name is None:
        if len(served) > 1:
            raise ConfigurationError(
                f"Several models are vLLM's: {', '.join(served)}.", hint="Name one with --name."
            )
        return models[served[0]] if served else None
    if name not in models:
        raise UnknownNameError("model", name, models)
    if name not in served:
        raise ConfigurationError(
            f"The model {name!r} is not served by vLLM but by {models[name].provider}.",
            hint=f"Models of vLLM: {', '.join(served) or 'none'}.",
        )
    return models[name]


def defaults(spec: "ModelSpec | None", base_url: str | None, weights: str | None) -> Serve:
    """What a configured model says about its server.

    Args:
        spec: The model, or None.
        base_url: Where vLLM is expected when the model does not say.
        weights: What to serve, or None for the configured name.

    Raises:
        ConfigurationError: There is nothing to serve, or the address cannot be read.
    """
    from agentkit.llm.auto import is_loopback
    from agentkit.llm.providers.vllm import DEFAULT_BASE_URL

    name = spec.model if spec else None
    if not (weights or name):
        raise ConfigurationError(
            "There is no model to serve.",
            hint="Give its Hugging Face name, or configure a model with provider: vllm.",
        )
    options: Mapping[str, Any] = spec.options if spec else {}
    url = str(options.get("base_url") or base_url or DEFAULT_BASE_URL)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The address {url!r} cannot be read: {error}") from error
    direct = parts.scheme == "http"  # over https something stands in front, and the port is that one's
    return Serve(
        model=weights or str(name),
        served_model_name=name if weights and name != weights else None,
        # vLLM listens on all addresses unless told otherwise.
        host="127.0.0.1" if is_loopback(url) else None,
        port=(port or 80) if direct else None,
        needs_key=options.get("api_key", _NO_KEY) != _NO_KEY,
    )


def serve_command(
    engine: Annotated[Engine, typer.Argument(help="What serves the model.")],  # noqa: ARG001 - there is one yet
    model: Annotated[
        str | None, typer.Argument(help="Hugging Face name or path; by default the configured model's name.")
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="Configured model; by default the only one of vLLM's.")
    ] = None,
    blueprint: Annotated[
        str | None, typer.Option("--blueprint", help="Look among this blueprint's models.")
    ] = None,
    served_model_name: Annotated[str | None, typer.Option(help="Name it answers to.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="GPUs one model is spread over.")
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(min=1, help="Longest prompt and answer together, in tokens.")
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Share of each GPU's memory.")
    ] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="Most requests at once.")] = None,
    quantization: Annotated[str | None, typer.Option(help="awq, gptq, fp8, …")] = None,
    tool_call_parser: Annotated[
        str | None, typer.Option(help="Lets the model call tools: hermes, llama3_json, mistral, …")
    ] = None,
    structured_outputs: Annotated[Backend | None, typer.Option(help="What guides the decoding.")] = None,
    one_line: Annotated[bool, typer.Option("--one-line", help="Without line breaks.")] = False,
) -> None:
    """Print the command that serves a configured model. Secrets are left to the environment."""
    from dataclasses import replace

    from agentkit.cli.session import out
    from agentkit.settings import Settings
    from agentkit.wiring import check_blueprint

    settings = Settings.load()
    models = check_blueprint(blueprint, settings).spec.models if blueprint else settings.models
    spec = configured(name, dict(models))
    given = {
        "served_model_name": served_model_name,
        "host": host,
        "port": port,
        "tensor_parallel_size": tensor_parallel_size,
        "max_model_len": max_model_len,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_num_seqs": max_num_seqs,
        "quantization": quantization,
        "tool_call_parser": tool_call_parser,
        "structured_outputs": structured_outputs.value if structured_outputs else None,
    }
    serve = defaults(spec, settings.vllm.base_url, model)
    serve = replace(serve, **{key: value for key, value in given.items() if value is not None})
    out.print((" " if one_line else " \\\n    ").join(serve.parts()), markup=False)
