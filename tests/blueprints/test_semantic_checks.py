"""Warnings about what a blueprint has and nothing uses."""

from pathlib import Path

import pytest

HEAD = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
"""
AGENTS = """\
agents:
  - {name: first, description: One., prompt: {ref: agents/writer}}
  - {name: second, description: Two., prompt: {ref: agents/writer}, model: big}
"""


@pytest.fixture
def warned(check, tmp_path):
    def run(text: str) -> list[str]:
        file = tmp_path / "team.yaml"
        file.write_text(HEAD + text)
        return [str(w).splitlines()[0].removeprefix(f"{tmp_path}/") for w in check(file).warnings]

    return run


def test_a_model_nothing_uses(warned):
    models = "models:\n  main: {provider: ollama}\n  big: {provider: ollama}\n  old: {provider: ollama}\n"
    unused = "Nothing uses the model 'old': no agent, not the supervisor, and it is nobody's fallback."
    assert warned(models + AGENTS) == [f"team.yaml:7:3: {unused}"]
    assert warned(models + AGENTS + "routing: {llm: {model: old}}\n") == []
    assert warned(models.replace("main: {", "main: {fallbacks: [old], ") + AGENTS) == []


def test_main_is_used_unless_all_name_another(warned):
    models = "models:\n  main: {provider: ollama}\n  big: {provider: ollama}\n"
    big = AGENTS.replace("One.,", "One., model: big,")
    assert warned(models + big) == []
    assert "Nothing uses the model 'main'" in warned(models + big + "supervisor: {model: big}\n")[0]


def test_models_that_fall_back_to_each_other_are_no_cycle(warned):
    models = (
        "models:\n"
        "  main: {provider: ollama, fallbacks: [big]}\n"
        "  big: {provider: ollama, fallbacks: [main]}\n"
    )
    assert warned(models + AGENTS) == []


def test_fallbacks_of_a_fallback_are_never_asked(warned):
    models = (
        "models:\n"
        "  main: {provider: ollama, fallbacks: [spare]}\n"
        "  big: {provider: ollama}\n"
        "  spare: {provider: ollama, fallbacks: [last, main]}\n"
        "  last: {provider: ollama}\n"
    )
    assert warned(models + AGENTS) == [
        "team.yaml:7:29: These are never asked: 'spare' is a fallback itself, and its own do not count.",
        (
            "team.yaml:8:3: Nothing uses the model 'last': it is a fallback of 'spare' only, which is a "
            "fallback itself, and those of a fallback are not asked."
        ),
    ]


def test_a_parameter_nothing_uses(warned):
    text = AGENTS.replace(", model: big", "")
    parameters = "parameters:\n  size: {default: 8}\n  other: {default: 9}\nknowledge: {k: '${param:size}'}\n"
    assert warned(parameters + text) == ["team.yaml:6:3: Nothing uses the parameter 'other'."]


def test_what_a_base_offers_need_not_be_used(check, tmp_path: Path):
    root = tmp_path / "blueprints"
    root.mkdir()
    (root / "base.yaml").write_text(
        "models: {main: {provider: ollama}, big: {provider: ollama}}\nparameters: {spare: {default: 1}}\n"
    )
    file = root / "team.yaml"
    file.write_text(HEAD + "extends: base.yaml\n" + AGENTS.replace(", model: big", ""))
    assert check(file).warnings == ()


def test_an_agent_no_rule_names_where_only_rules_decide(warned):
    agents = AGENTS.replace(", model: big", "")
    rules = "routing: {strategy: [rules], rules: [{when: \"'a' in text\", to: first}]}\n"
    assert warned(rules + agents) == [
        "team.yaml:7:12: Nobody is sent to the agent 'second': no rule names it, and only rules decide."
    ]
    assert warned(rules.replace("[rules]", "[rules, llm]") + agents) == []
    assert warned(rules.replace("to: first", "to: [first, second]").replace("{strat", "{parallel: 2, strat")
                  + agents) == []  # fmt: skip


def test_the_packaged_blueprint_has_nothing_unused():
    from agentkit.settings import Settings
    from agentkit.wiring import check_blueprint

    assert check_blueprint("devassist", Settings()).warnings == ()
