"""Settings: environment (`AGENTKIT_*`), `.env`, `agentkit.yaml`, in that order of precedence.

All problems are reported at once, unknown keys with the nearest valid one, and no
message ever holds a secret's value.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError
from yaml import YAMLError

from agentkit.blueprints.fields import ModuleName
from agentkit.blueprints.models import ModelSpec
from agentkit.errors import Problem, SettingsError, UnknownNameError, nearest

PREFIX = "AGENTKIT_"
CONFIG_FILE = "agentkit.yaml"


def default_data_dir() -> Path:
    """Where data is kept when no setting says: the user's data directory.

    For root it is `/var/lib/agentkit`: the embedded PostgreSQL runs as another user then,
    and everything above its directory must be readable for it, which `/root` should not be.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/agentkit")
    return platformdirs.user_data_path("agentkit", appauthor=False)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OllamaSettings(_Section):
    """`AGENTKIT_OLLAMA__*`."""

    base_url: str = Field(default="http://127.0.0.1:11434", description="Where Ollama listens.")


class VllmSettings(_Section):
    """`AGENTKIT_VLLM__*`."""

    base_url: str | None = Field(default=None, description="Where vLLM serves its API: http://host:8000/v1.")


class EmbeddingSettings(_Section):
    """`AGENTKIT_EMBEDDINGS__*`."""

    provider: str = Field(default="local", description="Registered embeddings: local, ollama.")
    model: str | None = Field(default=None, description="Embedding model; None for the provider's default.")


class CacheSettings(_Section):
    """`AGENTKIT_CACHE__*`: where models with a `cache` keep their answers."""

    store: Literal["postgres", "redis", "memory"] | None = Field(
        default=None, description="Unset: Redis if `redis_url` is set, else PostgreSQL."
    )


class SecuritySettings(_Section):
    """`AGENTKIT_SECURITY__*`."""

    allowed_modules: tuple[ModuleName, ...] = Field(
        default=(), description="Modules that a model's `use` may be taken from."
    )


def _key(variable: str, description: str) -> Any:
    """A secret under the name its vendor gave it; `AGENTKIT_` before it works as well."""
    names = AliasChoices(f"{PREFIX}{variable}", variable, variable.lower())
    return Field(default=None, validation_alias=names, description=description)


class Settings(BaseSettings):
    """Everything that can be set from outside.

    Raises:
        SettingsError: Through `Settings.load()`; lists every problem.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",
        yaml_file=CONFIG_FILE,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    data_dir: Path = Field(default_factory=default_data_dir, description="Weights and embedded PostgreSQL.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL with pgvector; unset: an embedded one in `data_dir`."
    )
    blueprints_dir: Path | None = Field(default=None, description="Where blueprints are looked up first.")
    prompts_dir: Path | None = Field(default=None, description="Where prompts are looked up first.")
    embeddings: EmbeddingSettings = EmbeddingSettings()
    ollama: OllamaSettings = OllamaSettings()
    vllm: VllmSettings = VllmSettings()
    openai_api_key: SecretStr | None = _key("OPENAI_API_KEY", "Key for the provider `openai`.")
    anthropic_api_key: SecretStr | None = _key("ANTHROPIC_API_KEY", "Key for the provider `anthropic`.")
    models: dict[str, ModelSpec] = Field(
        default_factory=lambda: {"main": ModelSpec()}, description="Chat models by name, as in a blueprint."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis through which replicas share circuit breakers; unset: each has its own."
    )
    cache: CacheSettings = CacheSettings()
    security: SecuritySettings = SecuritySettings()
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    log_format: Literal["console", "json"] = "console"

    @model_validator(mode="before")
    @classmethod
    def _one_name_each(cls, data: Any) -> Any:
        """Keep one of a key's names: `.env` gives one key under two, and two sources may differ."""
        values = dict(data)
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                names = [name for name in field.validation_alias.choices if name in values]
                for name in names[1:]:
                    del values[name]
        return values

    @field_validator("data_dir", "blueprints_dir", "prompts_dir", mode="after")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

    @field_validator("models", mode="after")
    @classmethod
    def _fallbacks_exist(cls, models: dict[str, ModelSpec]) -> dict[str, ModelSpec]:
        for name, model in models.items():
            for fallback in model.fallbacks:
                if fallback == name:
                    raise ValueError(f"the model {name!r} cannot fall back to itself.")
                if fallback not in models:
                    raise ValueError(UnknownNameError("model", fallback, models).message)
        return models

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, `.env`, secret files, `agentkit.yaml`."""
        yaml = YamlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, file_secret_settings, yaml

    @classmethod
    def load(cls, **values: Any) -> "Settings":
        """Read all sources; `values` come first.

        Raises:
            SettingsError: Some setting is wrong or unknown; all of them are listed.
        """
        problems = _unknown_variables(os.environ)
        try:
            settings = cls(**values)
        except ValidationError as error:
            problems += [_problem(dict(detail)) for detail in error.errors()]
        except (SourceError, YAMLError, OSError, ValueError) as error:
            problems.append(Problem(f"cannot be read: {' '.join(str(error).split())}", file="settings"))
        else:
            if not problems:
                return settings
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SettingsError(f"The settings have {count}:", problems)


def _unknown_variables(environment: Mapping[str, str]) -> list[Problem]:
    """Misspelt `AGENTKIT_*` variables, which pydantic-settings would ignore in silence."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    problems: list[Problem] = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name.split("__", 1)[0] in known:
            continue
        guess = nearest(name, known)
        suggestion = f"; did you mean {guess}?" if guess else f"; valid: {', '.join(sorted(known))}"
        problems.append(Problem(f"unknown setting{suggestion}", file=name))
    return problems


def _problem(detail: dict[str, Any]) -> Problem:
    """Turn pydantic's error into ours, without the value it may have been given."""
    path = [str(part) for part in detail["loc"]]
    name = PREFIX + "__".join(path).upper()
    if detail["type"] == "extra_forbidden":
        valid = _valid_keys(path[:-1])
        guess = nearest(path[-1], valid)
        message = f"unknown setting {path[-1]!r}"
        message += f"; did you mean {guess!r}?" if guess else f"; valid: {', '.join(valid)}"
        return Problem(message, file=name)
    message = re.sub(r"^Value error, ", "", str(detail["msg"]))
    return Problem(message, file=name)


def _valid_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    sections: dict[str, type[BaseModel]] = {
        "embeddings": EmbeddingSettings,
        "ollama": OllamaSettings,
        "vllm": VllmSettings,
        "models": ModelSpec,
        "cache": CacheSettings,
        "security": SecuritySettings,
    }
    if path:
        model = sections.get(path[0], Settings)
    return sorted(model.model_fields)
