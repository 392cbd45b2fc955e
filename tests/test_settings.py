from pathlib import Path

import pytest

from agentkit.errors import SettingsError
from agentkit.settings import Settings


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import os

    for name in [name for name in os.environ if name.startswith("AGENTKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(**values)
    return str(caught.value)


def test_defaults_need_nothing() -> None:
    settings = Settings.load()
    assert settings.database_url is None
    assert settings.models["main"].provider == "auto"


def test_environment_beats_dotenv_beats_yaml(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / "agentkit.yaml").write_text("log_level: info\nlog_format: json\ndata_dir: from-yaml\n")
    (clean / ".env").write_text("AGENTKIT_LOG_LEVEL=debug\nAGENTKIT_DATA_DIR=from-dotenv\n")
    monkeypatch.setenv("AGENTKIT_LOG_LEVEL", "ERROR")
    settings = Settings.load()
    assert settings.log_level == "error"
    assert settings.data_dir == clean / "from-dotenv"
    assert settings.log_format == "json"


def test_nested_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_OLLAMA__BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AGENTKIT_MODELS__MAIN__PROVIDER", "local")
    settings = Settings.load()
    assert settings.ollama.base_url == "http://127.0.0.1:1"
    assert settings.models["main"].provider == "local"


def test_all_problems_come_at_once(monkeypatch: pytest.MonkeyPatch, clean: Path) -> None:
    (clean / "agentkit.yaml").write_text("log_levl: info\nmodels: {main: {providr: x}}\n")
    monkeypatch.setenv("AGENTKIT_DATABSE_URL", "x")
    monkeypatch.setenv("AGENTKIT_LOG_FORMAT", "xml")
    text = problems()
    assert text.startswith("The settings have 4 problems:")
    assert "AGENTKIT_DATABSE_URL: unknown setting; did you mean AGENTKIT_DATABASE_URL?" in text
    assert "unknown setting 'log_levl'; did you mean 'log_level'?" in text
    assert "unknown setting 'providr'; did you mean 'provider'?" in text
    assert "AGENTKIT_LOG_FORMAT: Input should be 'console' or 'json'" in text


def test_a_dotenv_of_another_program_is_none_of_our_business(clean: Path) -> None:
    (clean / ".env").write_text("DJANGO_SECRET=x\nAGENTKIT_LOG_LEVEL=info\n")
    assert Settings.load().log_level == "info"


def test_broken_yaml_is_a_settings_error(clean: Path) -> None:
    (clean / "agentkit.yaml").write_text("models: [")
    assert "cannot be read" in problems()


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_DATABASE_URL", "postgresql://u:hunter2@h/db")
    settings = Settings.load()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    monkeypatch.setenv("AGENTKIT_LOG_LEVEL", "loud")
    assert "hunter2" not in problems()


def test_vendor_keys_have_their_vendors_names(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / ".env").write_text("OPENAI_API_KEY=sk-dotenv\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-env")
    settings = Settings.load()
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-dotenv"
    assert settings.anthropic_api_key is not None
    assert settings.anthropic_api_key.get_secret_value() == "sk-env"
    assert "sk-" not in repr(settings)
    monkeypatch.setenv("AGENTKIT_ANTHROPIC_API_KEY", "sk-ours")
    ours = Settings.load().anthropic_api_key
    assert ours is not None
    assert ours.get_secret_value() == "sk-ours"


def test_a_vendor_key_may_have_our_prefix_in_dotenv_too(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean / ".env").write_text("AGENTKIT_OPENAI_API_KEY=sk-prefixed\nOPENAI_API_KEY=sk-plain\n")
    key = Settings.load().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-prefixed"
    (clean / ".env").write_text("OPENAI_API_KEY=sk-plain\n")
    monkeypatch.setenv("AGENTKIT_OPENAI_API_KEY", "sk-env")
    key = Settings.load().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-env"
