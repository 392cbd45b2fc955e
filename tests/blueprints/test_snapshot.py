"""What is kept of a blueprint is all that its graph is built from, and no secret."""

import json
from pathlib import Path

import pytest

from agentkit.blueprints import LoadedBlueprint, load
from agentkit.blueprints.snapshot import freeze, thaw
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptManager

MAIN = """
apiVersion: agentkit/v1
kind: Blueprint
name: team
parameters: {word: {default: "a ${b"}}
models:
  main:
    provider: openai
    model: ${param:word}
    options: {key: "${secret:KEY}", header: "x$${env:END}${secret:KEY} $${y}", plain: "$${env:END}"}
agents: [{name: clerk, description: Answers., prompt: {ref: agents/writer, version: 1}}]
"""
ENV = {"KEY": "s3cret-value", "END": "z$"}


def loaded(tmp_path: Path, prompts: PromptManager, text: str = MAIN) -> LoadedBlueprint:
    file = tmp_path / "team.yaml"
    file.write_text(text.replace("x$${env:END}", "x${env:END}"))
    return load(file, prompts=prompts, env=ENV, secrets=tmp_path)


def test_the_same_blueprint_comes_back(tmp_path: Path, prompts: PromptManager) -> None:
    first = loaded(tmp_path, prompts)
    options = first.spec.models["main"].options
    assert options["header"].get_secret_value() == "xz$s3cret-value ${y}"
    text = freeze(first)
    assert "s3cret-value" not in text
    assert "s3cret-value" in str(first.spec.models["main"].options["key"].get_secret_value())
    again = thaw(text, env=ENV, secrets=tmp_path)
    assert again.spec == first.spec
    assert again.digest == first.digest
    assert again.prompts == first.prompts
    assert freeze(again) == text
    for ref, prompt in first.prompts.items():
        assert again.prompts[ref].render(**dict.fromkeys(prompt.variables, "x")) == prompt.render(
            **dict.fromkeys(prompt.variables, "x")
        )


def test_secrets_are_looked_up_again(tmp_path: Path, prompts: PromptManager) -> None:
    text = freeze(loaded(tmp_path, prompts))
    again = thaw(text, env={"KEY": "rotated"}, secrets=tmp_path)  # END is not asked for again
    options = again.spec.models["main"].options
    assert options["header"].get_secret_value() == "xz$rotated ${y}"
    assert options["plain"] == "${env:END}"
    with pytest.raises(
        BlueprintError, match="A secret it needs is missing: neither the environment variable KEY"
    ):
        thaw(text, env={}, secrets=tmp_path)


def test_what_another_version_wrote_is_refused(tmp_path: Path, prompts: PromptManager) -> None:
    content = json.loads(freeze(loaded(tmp_path, prompts)))
    with pytest.raises(BlueprintError, match="Another version of agentkit"):
        thaw(json.dumps({**content, "format": 2}), env=ENV)
    content["value"]["agents"][0]["mood"] = "good"
    with pytest.raises(BlueprintError, match=r"agents\.0\..*mood"):
        thaw(json.dumps(content), env=ENV)
