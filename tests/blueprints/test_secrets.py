"""`${secret:NAME}`: where it comes from, where it may stand, and that nothing shows it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agentkit.blueprints.llm_config import model_config
from agentkit.errors import BlueprintError
from agentkit.llm import LLMConfig, ProviderContext
from agentkit.llm.providers.scripted import ScriptedProvider
from agentkit.secrets import hide, reveal, secrets_in
from agentkit.weights import WeightsStore

from .conftest import MAIN, Loader

VALUE = "sk-very-secret-value"
OPTIONS = MAIN.replace(
    "provider: ollama",
    'provider: ollama\n    options: {api_key: "${secret:API_KEY}", '
    'extra_headers: {Authorization: "Bearer ${secret:API_KEY}"}}',
)


def test_from_the_environment_before_the_file(check: Loader, folder: Path, tmp_path: Path) -> None:
    (folder / "blueprint.yaml").write_text(OPTIONS)
    (tmp_path / "API_KEY").write_text("from-the-file\n")
    for env, value in (
        ({"API_KEY": VALUE}, VALUE),
        ({"API_KEY": ""}, "from-the-file"),
        ({}, "from-the-file"),
    ):
        loaded = check(folder, env=env, secrets=tmp_path)
        options = model_config("big", loaded.spec.models).options
        assert isinstance(options["api_key"], SecretStr)
        assert reveal(options) == {"api_key": value, "extra_headers": {"Authorization": f"Bearer {value}"}}


def test_nothing_shows_it(check: Loader, folder: Path) -> None:
    (folder / "blueprint.yaml").write_text(OPTIONS)
    loaded = check(folder, env={"API_KEY": VALUE})
    shown = (
        str(loaded), repr(loaded), loaded.spec.model_dump_json(), str(loaded.spec.model_dump(mode="json")),
        repr(model_config("big", loaded.spec.models)),
    )  # fmt: skip
    assert not any(VALUE in text for text in shown)
    assert "**********" in shown[2]


def test_a_new_secret_is_not_a_new_blueprint(check: Loader, folder: Path) -> None:
    (folder / "blueprint.yaml").write_text(OPTIONS)
    one, two = (check(folder, env={"API_KEY": key}).digest for key in (VALUE, "another"))
    assert one == two


def test_faults_elsewhere_do_not_show_it(check: Loader, folder: Path) -> None:
    (folder / "blueprint.yaml").write_text(
        OPTIONS.replace("1.5m", "fast").replace("api_key:", "api_key: 1, b:")
    )
    with pytest.raises(BlueprintError) as caught:
        check(folder, env={"API_KEY": VALUE})
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "model: ${secret:K}",
            "8:12: ${secret:K}: a secret may stand only under models.NAME.options, and in headers",
        ),
        ("options: {base_url: 'http://x/${secret:K}'}", "an address is no secret"),
        ("options: {api_key: '${secret:K:-x}'}", "8:25: ${secret:K:-x}: a secret has no default."),
        ("options: {api_key: '${secret:../K}'}", "is not an expression"),
        (
            "options: {api_key: '${secret:MISSING}'}",
            "neither the environment variable MISSING is set nor is there",
        ),
        ("options: {api_key: '${secret:EMPTY}'}", "EMPTY' is empty."),
        ("options: {api_key: '${secret:FOLDER}'}", "FOLDER' cannot be read: Is a directory."),
        ("options: {api_key: '${secret:BYTES}'}", "BYTES' is not UTF-8 text."),
    ],
)
def test_faulty_secrets(faults, folder: Path, tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "BYTES").write_bytes(b"\xff\xfe")
    (folder / "blueprint.yaml").write_text(MAIN.replace("model: qwen3:8b", place))
    [problem] = faults(folder, env={"K": VALUE}, secrets=tmp_path)
    assert said in problem
    assert VALUE not in problem


def test_a_parameter_cannot_carry_one_elsewhere(faults, folder: Path) -> None:
    text = MAIN + "parameters: {p: {default: '${secret:K}'}}\ndescription: ${param:p}\n"
    (folder / "blueprint.yaml").write_text(text)
    problems = faults(folder, env={"K": VALUE})
    assert "${secret:K}: a secret may stand only under models.NAME.options, and in headers" in problems[0]
    assert VALUE not in str(problems)


def test_a_providers_errors_hide_it() -> None:
    options = {"api_key": SecretStr(VALUE), "headers": {"Authorization": [SecretStr(f"Bearer {VALUE}")]}}
    provider = ScriptedProvider(
        LLMConfig("scripted", options=options), ProviderContext(WeightsStore(Path("unused")))
    )
    said = str(provider.error(f"Bearer {VALUE} and {VALUE!r} are wrong; a Bearer is a word"))
    assert said == "*** and '***' are wrong; a Bearer is a word"


def test_secrets_are_found_however_deep() -> None:
    value = {"a": [SecretStr("one two-words-long"), (SecretStr(""), "plain")], "b": 3}
    assert secrets_in(value) == ["one two-words-long", "two-words-long"]
    assert reveal(value) == {"a": ["one two-words-long", ["", "plain"]], "b": 3}
    assert hide("plain 3", value) == "plain 3"
