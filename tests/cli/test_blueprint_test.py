"""`agentkit blueprint test`: the report, JUnit XML, exit statuses; tools run, models do not."""

import json
from xml.etree.ElementTree import parse

import pytest

from .conftest import Project

TESTS = """
security: {allowed_modules: [shop]}
limits: {model_calls: 3}
agents:
  - name: python
    description: Python programming questions
    examples: ["How do I write a generator in Python?"]
    prompt: {ref: agents/python}
    knowledge_scope: [notes]
    tools: [{use: "shop:stock"}, {use: "shop:explode"}]
tests:
  - name: tools really run
    input: How do I write a generator in Python?
    mock:
      python:
        - [{tool: stock, arguments: {item: nut, shelf: 3}}, {tool: stock, arguments: {item: bolt}}]
        - {text: There are 3 nuts., expect: "bolt: 4"}
    expect: {route: [python], via: semantic, tools: {stock: {item: nut}}, answer_contains: 3 NUTS}
  - name: knowledge is found where sources are expected
    input: How do I write a generator in Python?
    mock: {python: [Yield.]}
    expect: {sources: ["*generators.md"]}
  - name: a user without the scope finds nothing
    input: How do I write a generator in Python?
    scopes: []
    mock: {python: [Yield.]}
    expect: {sources: []}
  - name: a turn that spends too much
    input: How do I write a generator in Python?
    mock: {main: [{tool: stock}, {tool: stock}, {tool: stock}]}
    expect: {limit: model_calls, answer_contains: python stopped here}
"""
WRONG = """
  - name: "wrong: <route> & 'answer'"
    input: How do I write a generator in Python?
    mock: {python: [Yield.]}
    expect: {route: [], answer_contains: return}
  - name: nobody speaks for python
    input: How do I write a generator in Python?
    mock: {supervisor: [Hello.]}
  - name: a tool that fails
    input: How do I write a generator in Python?
    mock: {python: [{tool: explode}]}
  - name: the first of two turns fails
    input: ['How do I write a generator in Python?', 'And now?']
    mock: {python: []}
    expect: {error: script_error}
"""
SHOP = '''
def stock(item: str = "", shelf: int = 0) -> str:
    """Look into the stock."""
    return f"{item}: {len(item)}"

def explode() -> str:
    """Fail."""
    raise RuntimeError("no such shelf")
'''


@pytest.fixture
def shop(project: Project) -> Project:
    file = project.root / "blueprints" / "team" / "blueprint.yaml"
    file.write_text(file.read_text().split("agents:")[0] + TESTS)
    (project.root / "shop.py").write_text(SHOP)
    project.env["PYTHONPATH"] = f"{project.root}:{project.env.get('PYTHONPATH', '')}"
    return project


def test_all_pass(shop: Project) -> None:
    done = shop.run("blueprint", "test", "team")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("passed  tools really run  python, semantic, ")
    assert lines[-1] == "team: 4 of 4 tests passed"


def test_failures_say_what_came(shop: Project) -> None:
    file = shop.root / "blueprints" / "team" / "blueprint.yaml"
    file.write_text(file.read_text() + WRONG)
    done = shop.run("blueprint", "test", "team", "--junit", "out.xml")
    assert done.returncode == 1
    report = done.stdout
    assert "FAILED  wrong: <route> & 'answer'  python, semantic" in report
    assert "    route            expected  supervisor\n                     got       python\n" in report
    assert "    answer_contains  expected  'return'\n                     got       'Yield.'\n" in report
    assert "routed because   similarity 0.71 to python; scores: python 0.71" in report
    assert "got       script_error: Call 1 is not in the script of 'python', which has 0 steps." in report
    assert "got       exception: RuntimeError: no such shelf" in report
    assert "expected  an answer in turn 1\n" in report
    assert report.endswith("team: 4 of 8 tests passed\n")
    suite = parse(shop.root / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "1", "3")
    assert suite[4].get("name") == "wrong: <route> & 'answer'"


def test_some_as_json_without_a_database(shop: Project) -> None:
    broken = {"AGENTKIT_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    done = shop.run("blueprint", "test", "team", "--name", "tools*", "--json", **broken)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["passed"], result["failed"], len(result["tests"])) == (1, 0, 1)
    [test] = result["tests"]
    assert test["passed"]
    assert test["outcome"]["tool_calls"][0] == ["stock", {"item": "nut", "shelf": 3}]


def test_without_mock_the_real_model_is_asked(shop: Project) -> None:
    file = shop.root / "blueprints" / "team" / "blueprint.yaml"
    question = "How do I write a generator in Python?"
    real = f"  - {{name: real, input: '{question}', expect: {{answer_contains: 'yield [1]'}}}}\n"
    file.write_text(file.read_text() + real)
    done = shop.run("blueprint", "test", "team", "--name", "real")
    assert (done.returncode, done.stdout[:19]) == (0, "passed  real  pytho"), done.stderr


def test_nothing_to_run_is_wrong_use(project: Project, shop: Project) -> None:
    done = shop.run("blueprint", "test", "team", "--name", "nope*")
    assert done.returncode == 2
    assert "No test of team fits 'nope*'. There are: tools really run, knowledge" in done.stderr
    project.script("x")
    done = project.run("blueprint", "test", "team")
    assert (done.returncode, "team has no tests" in done.stderr) == (2, True)
    assert project.run("blueprint", "test", "teem").returncode == 2


def test_two_agents_at_once_each_speak_from_their_own_script(shop: Project) -> None:
    file = shop.root / "blueprints" / "team" / "blueprint.yaml"
    head, tail = file.read_text().split("tests:")
    head = head.replace(
        "routing: {", "routing: {parallel: 2, rules: [{when: \"'both' in text\", to: [python, ops]}], "
    )
    ops = "  - {name: ops, description: Servers, prompt: {ref: agents/python}}\n"
    both = """
  - name: both
    input: Ask both
    mock: {python: [Yield.], ops: [Reboot.]}
    expect: {route: [python, ops], via: rules, answer_contains: [yield, reboot]}
  - name: the model names both
    input: zzz
    mock: {supervisor: [{agents: [ops, python]}], python: [Yield.], ops: [Reboot.]}
    expect: {route: [ops, python], via: llm}
"""
    file.write_text(f"{head}{ops}tests:{tail}{both}")
    done = shop.run("blueprint", "test", "team", "--name", "*both")
    assert done.returncode == 0, done.stdout + done.stderr
