"""`routing.rules`, `routing.parallel` and what belongs to them, as written in YAML."""

from pathlib import Path

import pytest

from agentkit.blueprints.fields import PromptRef
from agentkit.prompts import PromptManager

TWO = """\
apiVersion: agentkit/v1
kind: Blueprint
name: pair
models:
  main: {provider: scripted}
agents:
  - {name: writer, description: Writes., prompt: {ref: agents/writer}}
  - {name: reader, description: Reads., prompt: {ref: agents/writer}}
"""


@pytest.fixture
def pair(tmp_path: Path, prompts: PromptManager) -> Path:
    """A valid blueprint with two agents, in one file."""
    file = tmp_path / "pair.yaml"
    file.write_text(TWO)
    several = "template: '{{agents}} {{limit}}', variables: {agents: All., limit: Most.}"
    (tmp_path / "prompts" / "routing_several.yaml").write_text(f"name: x\nversions: {{1: {{{several}}}}}\n")
    return file


def add(file: Path, text: str) -> None:
    file.write_text(f"{TWO}{text}\n")


def test_rules_come_first_unless_an_order_is_given(check, pair):
    rule = "rules: [{when: \"'a' in text\", to: writer}]"
    add(pair, f"routing: {{{rule}}}")
    routing = check(pair).spec.routing
    assert routing.strategy == ("rules", "semantic", "llm")
    assert [(rule.when, rule.to) for rule in routing.rules] == [("'a' in text", ("writer",))]
    add(pair, f"routing: {{strategy: [semantic, rules], {rule}}}")
    assert check(pair).spec.routing.strategy == ("semantic", "rules")
    add(pair, "routing: {parallel: 2}")
    assert check(pair).spec.routing.strategy == ("semantic", "llm")


@pytest.mark.parametrize("strategy", ["[llm]", "[llm, semantic]", "[semantic]"])
def test_candidates_need_the_scores_of_a_strategy_before(faults, pair, strategy):
    add(pair, f"routing: {{strategy: {strategy}, llm: {{candidates: 2}}}}")
    assert faults(pair)[0].endswith("llm.candidates needs the strategies semantic and, after it, llm.")
    add(pair, "routing: {llm: {candidates: 1}}")
    assert "routing.llm.candidates: " in faults(pair)[0]


def test_a_rule_may_name_several_and_the_supervisor(check, pair):
    rules = "[{when: \"'a' in text\", to: [reader, writer]}, {when: \"text == 'hi'\", to: supervisor}]"
    add(pair, f"routing: {{parallel: 2, rules: {rules}}}")
    assert [rule.to for rule in check(pair).spec.routing.rules] == [("reader", "writer"), ("supervisor",)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "- {when: \"'a' in text\", to: writr}",
            "12:33: Unknown agent 'writr'. Did you mean 'writer'? Valid: reader, supervisor, writer.",
        ),
        ("- {when: \"'a' in text\", to: [writer, reeder]}", "12:42: Unknown agent 'reeder'."),
        (
            "- {when: \"'a' in text\", to: [writer, reader]}",
            "12:33: The rule sends to 2 agents, but routing.parallel is 1: raise it.",
        ),
        ("- {when: \"'a' in text\", to: [writer, writer]}", "12:42: The agent 'writer' is listed twice."),
        ("- {when: \"'a' in text\", to: [supervisor, writer]}", "12:34: The supervisor answers alone"),
        ("- {when: \"'a' in text\", to: []}", "12:33: routing.rules.0.to:"),
        ("- {when: \"'a' in text\"}", "12:7: routing.rules.0: the key 'to' is missing."),
        ("- {wenn: \"'a' in text\", to: writer}", "12:8: Unknown key 'wenn'. Did you mean 'when'?"),
        ("- {when: \"'a' in text and open('x')\", to: writer}", "12:31: Calls are not allowed in a rule."),
        (
            "- {when: \"'a' in mesage\", to: writer}",
            "12:22: Unknown name 'mesage'. Did you mean 'message'? Allowed: message, text, user, tenant,",
        ),
        ("- {when: true, to: writer}", "12:14: routing.rules.0.when: must be text (put it in quotes)"),
        ("- {when: '', to: writer}", "12:14: routing.rules.0.when:"),
        ("- when: user = 'a'\n      to: writer", "12:18: This is not an expression: write == to compare."),
    ],
)
def test_a_faulty_rule_is_placed_to_the_character(faults, pair, lines, said):
    add(pair, f"\nrouting:\n  rules:\n    {lines}")
    found = faults(pair)
    assert any(line.startswith(f"pair.yaml:{said}") for line in found), found


def test_an_expression_that_is_not_on_one_line_is_placed_at_its_start(faults, pair):
    add(pair, "routing:\n  rules:\n    - to: writer\n      when: >-\n        user ==\n        'a' and x")
    assert faults(pair)[0].startswith("pair.yaml:12:13: Unknown name 'x'.")


@pytest.mark.parametrize("value", [0, 11, "many", 1.5, True])
def test_parallel_is_a_small_number(faults, pair, value):
    add(pair, f"routing: {{parallel: {value}}}")
    assert any(line.startswith("pair.yaml:9:21: routing.parallel:") for line in faults(pair))


def test_the_prompt_for_several_is_used_only_where_several_may_be_chosen(check, faults, pair, tmp_path):
    assert check(pair).spec.routing.llm_prompt == PromptRef(ref="routing")
    add(pair, "routing: {parallel: 2, llm: {prompt: {ref: routing, version: 1}}}")
    assert check(pair).spec.routing.llm_prompt == PromptRef(ref="routing", version=1)
    add(pair, "routing: {parallel: 2}")
    loaded = check(pair)
    assert loaded.spec.routing.llm_prompt == PromptRef(ref="routing_several")
    assert PromptRef(ref="routing_several") in loaded.prompts
    (tmp_path / "prompts" / "routing_several.yaml").unlink()
    assert faults(pair)[0].startswith("pair.yaml:9:1: Unknown prompt 'routing_several'.")


def test_combine_is_a_prompt_that_gets_the_answers(check, faults, pair, tmp_path):
    add(pair, "supervisor: {combine: {ref: joiner}}")
    assert "Unknown prompt 'joiner'." in faults(pair)[0]
    (tmp_path / "prompts" / "joiner.yaml").write_text(
        "name: x\nversions: {1: {template: '{{answers}}', variables: {answers: All.}}}\n"
    )
    assert PromptRef(ref="joiner") in check(pair).prompts
    add(pair, "supervisor: {combine: {ref: supervisor}}")
    assert "as combine prompt it gets: answers." in faults(pair)[0]


def test_an_agents_time_limit_is_a_duration(check, faults, pair):
    pair.write_text(TWO.replace("Writes.,", "Writes., limits: {timeout: 1.5m},"))
    assert [agent.limits.timeout for agent in check(pair).spec.agents] == [90.0, None]
    pair.write_text(TWO.replace("Writes.,", "Writes., limits: {timeout: 90},"))
    assert "must be a duration with a unit" in faults(pair)[0]
