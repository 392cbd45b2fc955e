import sys
from pathlib import Path

import pytest
import yaml

from agentkit.blueprints import find_blueprint, list_blueprints, load
from agentkit.blueprints.fields import PromptRef
from agentkit.errors import BlueprintError, UnknownNameError
from agentkit.prompts import PromptManager

ROOT = Path(__file__).parents[2]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def main(folder: Path) -> Path:
    return folder / "blueprint.yaml"


def writer(folder: Path) -> Path:
    return folder / "agents" / "writer.yaml"


def test_folder_form(check, folder):
    loaded = check(folder)
    assert loaded.spec.name == "team"
    assert loaded.spec.models["big"].timeout.total == 90.0
    assert loaded.spec.agent("writer").examples == ("Write a poem.",)
    assert loaded.root == folder
    assert loaded.files == (main(folder), writer(folder))
    assert [(source.path, source.scope) for source in loaded.sources] == [(folder / "notes", "notes")]
    assert loaded.prompts[PromptRef(ref="agents/writer", version=2)].content == "Write well."
    assert {ref.ref for ref in loaded.prompts} == {"agents/writer", "supervisor", "routing", "retrieval"}
    assert loaded.warnings == ()


def test_one_file_form_is_the_same_blueprint(check, folder):
    tree = yaml.safe_load(main(folder).read_text())
    tree["agents"] = [yaml.safe_load(writer(folder).read_text())]
    file = folder / "team.yaml"
    file.write_text(yaml.safe_dump(tree))
    assert check(file).spec == check(folder).spec
    assert check(file).root == folder


def test_agents_come_in_the_order_of_their_files(check, folder):
    for name in ("zeta", "alpha", "mid"):
        text = writer(folder).read_text().replace("name: writer", f"name: {name}").replace("a poem", name)
        (folder / "agents" / f"{name}.yaml").write_text(text)
    assert [agent.name for agent in check(folder).spec.agents] == ["alpha", "mid", "writer", "zeta"]


def test_defaults(check, folder):
    spec = check(folder).spec
    assert spec.routing.strategy == ("semantic", "llm")
    assert spec.runtime.checkpointer == "postgres"
    assert spec.agents[0].limits.tool_iterations == 5
    text = main(folder).read_text()
    main(folder).write_text(text[: text.index("models:")] + text[text.index("knowledge:") :])
    edit(writer(folder), "model: big\n", "")
    assert check(folder).spec.models["main"].provider == "auto"


def test_every_problem_in_one_run(faults, folder):
    edit(main(folder), "kind: Blueprint", "kind: Blueprints\nretry: 3")
    edit(main(folder), "provider: ollama", "provider: olama\n    temprature: 1")
    edit(main(folder), "1.5m", "fast")
    edit(main(folder), "path: notes", "path: nowhere")
    edit(writer(folder), "model: big", "model: bigg")
    edit(writer(folder), "version: 2", "version: 7")
    (folder / "agents" / "twin.yaml").write_text("name: writer\ndescripton: x\nprompt: {ref: agents/riter}\n")
    keys = (
        "Valid: description, examples, handoffs, history, knowledge_scope, limits, memory, middleware, "
        "model, name, output, prompt, returns, tools."
    )
    expected = """\
blueprint.yaml:2:7: kind: should be 'Blueprint', not 'Blueprints'. Did you mean 'Blueprint'?
blueprint.yaml:3:1: Unknown key 'retry'. Valid: agents, apiVersion, context, description, extends, {more}
blueprint.yaml:8:15: Unknown provider 'olama'. Did you mean 'ollama'? Valid: auto, ollama, scripted.
blueprint.yaml:9:5: Unknown key 'temprature'. Did you mean 'temperature'? {model_keys}
blueprint.yaml:11:5: models.big.timeout.total: must be a duration with a unit, longer than zero: {durations}
blueprint.yaml:14:14: There is no file or folder 'nowhere'.
agents/twin.yaml:1:1: the key 'description' is missing.
agents/twin.yaml:2:1: Unknown key 'descripton'. Did you mean 'description'? {keys}
agents/twin.yaml:3:15: Unknown prompt 'agents/riter'. Did you mean 'agents/writer'? {prompts}
agents/writer.yaml:1:7: The agent name 'writer' is taken already, in agents/twin.yaml:1.
agents/writer.yaml:4:8: Unknown model 'bigg'. Did you mean 'big'? Valid: big, main.
agents/writer.yaml:5:39: Unknown version of the prompt 'agents/writer' '7'. Valid: 1, 2.
""".format(
        more="kind, knowledge, limits, mcp_servers, middleware, models, name, parameters, routing, "
        "runtime, security, supervisor, tests.",
        model_keys="Valid: breaker, cache, concurrency, fallback_on, fallbacks, max_tokens, model, options, "
        "price, provider, retry, temperature, timeout, tool_calls, use.",
        durations="500ms, 30s, 2m or 1h.",
        keys=keys,
        prompts="Valid: agents/writer, retrieval, routing, supervisor.",
    )
    assert faults(folder) == expected.splitlines()


def test_error_text_has_the_line_and_a_pointer(check, folder):
    edit(writer(folder), "model: big", "modle: big")
    with pytest.raises(BlueprintError) as caught:
        check(folder)
    assert str(caught.value) == (
        f"The blueprint {str(folder)!r} has 1 problem.\n"
        f"{writer(folder)}:4:1: Unknown key 'modle'. Did you mean 'model'? Valid: description, examples, "
        "handoffs, history, knowledge_scope, limits, memory, middleware, model, name, output, prompt, "
        "returns, tools.\n"
        "    modle: big\n"
        "    ^"
    )


@pytest.mark.parametrize("key", ["budget: {cost: 1}", "replicas: 4"])
def test_keys_nothing_implements_yet_are_refused(faults, folder, key):
    edit(main(folder), "provider: ollama", f"provider: ollama\n    {key}")
    assert faults(folder)[0].startswith(f"blueprint.yaml:8:5: Unknown key {key.split(':')[0]!r}.")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: writer", "name: supervisor", "1:7: name: the name 'supervisor' is reserved"),
        ("name: writer", "name: __start__", "the name '__start__' is reserved"),
        ("name: writer", "name: none", "the name 'none' is reserved"),
        ("name: writer", "name: The Writer", "must be lower-case letters"),
        ("name: writer", "name: 7", "must be text (put it in quotes), not a number."),
        ("description: Writes texts.", "description: ' '", "2:14"),
        ("[Write a poem.]", "Write a poem.", "3:11: examples: must be a list, not text."),
        ("version: 2", "version: true", "prompt.version: must be a whole number, or a range in quotes"),
        ("version: 2", "version: two", "prompt.version: must be a whole number, or a range in quotes"),
        ("version: 2", "version: ^x", "5:39: prompt.version: must be a whole number, or a range in quotes"),
        ("version: 2", "version: '^7'", "Unknown version of the prompt 'agents/writer' '^7'. Valid: 1, 2."),
        (
            "version: 2",
            "version: '>2'",
            "Unknown version of the prompt 'agents/writer' '>2'. Did you mean '2'?",
        ),
        (
            "{ref: agents/writer, version: 2}",
            "agents/writer",
            "must be a mapping of keys to values, not text.",
        ),
        (
            "agents/writer",
            "agents/writr",
            "5:15: Unknown prompt 'agents/writr'. Did you mean 'agents/writer'?",
        ),
        (
            "agents/writer, version: 2",
            "supervisor",
            "needs agents, but as agent prompt it gets: no variables.",
        ),
        ("model: big", "limits: {tool_iterations: 21}", "less than or equal to 20"),
        ("model: big", "tools: [{}]", "a tool has either 'name', 'use' or 'mcp', and only one of them."),
        ("model: big", "tools: [{name: a, use: 'b:c'}]", "a tool has either 'name', 'use' or 'mcp'"),
        ("model: big", "tools: [{use: os.system}]", "4:15: tools.0.use"),
        ("model: big", "tools: [{use: 'os:system'}]", "'os:system' is not under security.allowed_modules."),
        (
            "model: big",
            "tools: [{name: sarch}]",
            "4:16: Unknown tool 'sarch'. Did you mean 'search'? Valid: search.",
        ),
        ("model: big", "tools: [{name: search}, {name: search}]", "The tool 'search' is listed twice."),
        ("model: big", "model: ${param:nothing}", "4:8: ${param:nothing}: Unknown parameter 'nothing'."),
        ("model: big", "model: big\nmodel: main", "5:1: Key 'model' is here twice, first in line 4."),
        ("model: big", "model: [big", "Invalid YAML"),
    ],
)
def test_agent_faults(faults, folder, old, new, said):
    edit(writer(folder), old, new)
    found = faults(folder, tools=["search"])
    assert any(line.startswith("agents/writer.yaml:") and said in line for line in found), found


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("routing: {strategy: []}", "routing.strategy"),
        ("routing: {strategy: [rulez]}", "should be 'rules', 'semantic' or 'llm'"),
        ("routing: {strategy: [rules]}", "3:22: There are no rules: add routing.rules."),
        (
            "routing: {strategy: [llm], rules: [{when: \"'a' in text\", to: writer}]}",
            "3:28: The rules are never looked at: add 'rules' to routing.strategy, or leave that out.",
        ),
        ("routing: {strategy: [llm, llm]}", "strategy lists one strategy twice."),
        ("routing: {semantic: {threshold: 2}}", "less than or equal to 1"),
        ("routing: {llm: {model: huge}}", "Unknown model 'huge'. Valid: big, main."),
        ("routing: {llm: {prompt: {ref: rooting}}}", "Unknown prompt 'rooting'. Did you mean 'routing'?"),
        ("supervisor: {model: huge}", "3:21: Unknown model 'huge'."),
        ("runtime: {checkpointer: redis}", "should be 'postgres', 'memory' or 'none'"),
        ("security: {allowed_modules: ['os.*']}", "security.allowed_modules.0"),
        ("agents: []", "Agents are either here or in agents/*.yaml, not both"),
        ("supervisor:", "supervisor: must be a mapping of keys to values, not empty."),
        ("on: push", "Unknown key 'on'."),
        ("7: x", "The key 7 must be text: put it in quotes."),
    ],
)
def test_main_file_faults(faults, folder, new, said):
    edit(main(folder), "name: team", f"{new}\nname: team")
    found = faults(folder)
    assert any(line.startswith("blueprint.yaml:3:") and said in line for line in found), found


def test_allowed_modules_cover_what_is_below_them(check, faults, folder):
    edit(main(folder), "name: team", "name: team\nsecurity: {allowed_modules: [myapp.tools]}")
    edit(writer(folder), "model: big", "tools: [{use: 'myapp.tools.web:get'}, {use: 'myapp.tools:put'}]")
    check(folder)
    edit(writer(folder), "myapp.tools.web:get", "myapp.toolsmith:get")
    assert "Allowed: myapp.tools. Add its module there" in faults(folder)[0]


def test_a_models_use_must_be_allowed_and_is_not_imported(check, faults, folder, tmp_path, monkeypatch):
    (tmp_path / "modeltrap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(main(folder), "models:\n", "models:\n  own: {use: 'modeltrap:make'}\n")
    [fault] = faults(folder)
    line = 1 + main(folder).read_text().splitlines().index("  own: {use: 'modeltrap:make'}")
    assert fault.startswith(
        f"blueprint.yaml:{line}:14: 'modeltrap:make' is not under security.allowed_modules"
    )
    edit(main(folder), "name: team", "name: team\nsecurity: {allowed_modules: [modeltrap]}")
    assert check(folder).spec.models["own"].use == "modeltrap:make"
    assert "modeltrap" not in sys.modules


def test_validation_imports_no_user_code(check, folder, tmp_path, monkeypatch):
    (tmp_path / "mytrap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(main(folder), "name: team", "name: team\nsecurity: {allowed_modules: [mytrap]}")
    edit(writer(folder), "model: big", "tools: [{use: 'mytrap:run'}]")
    check(folder)
    assert "mytrap" not in sys.modules


def test_parameters_and_environment(check, folder):
    edit(
        main(folder),
        "name: team",
        "name: team\nparameters:\n  k: {default: 7}\n  m: {default: '${env:M:-a:b}'}",
    )
    edit(main(folder), "knowledge:\n", "knowledge:\n  k: ${param:k}\n")
    edit(main(folder), "model: qwen3:8b", "model: x-${param:m}-$${env:M}")
    spec = check(folder).spec
    assert (spec.knowledge.k, spec.models["big"].model) == (7, "x-a:b-${env:M}")
    spec = check(folder, parameters={"k": 9}, env={"M": "${param:k}"}).spec
    assert (spec.knowledge.k, spec.models["big"].model) == (9, "x-${param:k}-${env:M}")


def test_environment_text_becomes_a_number_where_one_is_wanted(check, faults, folder):
    edit(main(folder), "knowledge:\n", "knowledge:\n  k: ${env:K}\n")
    assert check(folder, env={"K": "3"}).spec.knowledge.k == 3
    assert faults(folder, env={"K": "many"}) == [
        "blueprint.yaml:11:6: knowledge.k: must be a whole number, not text."
    ]


def test_values_cannot_add_structure(check, folder):
    edit(main(folder), "model: qwen3:8b", "model: ${env:M}")
    spec = check(folder, env={"M": "x\n  evil: {provider: openai}"}).spec
    assert list(spec.models) == ["main", "big"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "a ${env:NOPE}",
            "9:15: ${env:NOPE}: the environment variable NOPE is not set: set it, or write ${env:NOPE",
        ),
        ("${param:p}", "${param:p}: the parameter 'p' has no default and was not set."),
        ("${param:q}", "${param:q}: Unknown parameter 'q'. Valid: p."),
        ("${param:p:-x}", "its default belongs under 'parameters: p: default:'."),
        (
            "${HOME}",
            "${HOME}: is not an expression: write ${param:NAME}, ${env:NAME}, ${env:NAME:-default}, ",
        ),
        ("${context:user}", "9:13: ${context:user}: a value of the request may stand only in the variables"),
        ("${contest:user}", "is not an expression"),
    ],
)
def test_faulty_expressions(faults, folder, value, said):
    edit(main(folder), "name: team", "name: team\nparameters: {p: {}}")
    edit(main(folder), "model: qwen3:8b", f'model: "{value}"')
    assert any(said in line for line in faults(folder))


def test_parameter_that_is_not_declared(faults, folder):
    assert faults(folder, parameters={"speed": 1}) == [
        "blueprint.yaml:1:1: Unknown parameter 'speed'. Valid: (none)."
    ]


def test_no_agents(faults, folder):
    writer(folder).unlink()
    assert faults(folder) == [
        "blueprint.yaml:1:1: The blueprint has no agents: add files agents/NAME.yaml, or a list 'agents'."
    ]


@pytest.mark.parametrize("text", ["just text", "- a\n- b\n"])
def test_not_a_mapping(faults, folder, text):
    main(folder).write_text(text)
    assert faults(folder) == [
        "blueprint.yaml:1:1: A blueprint is a mapping of keys to values; see docs/blueprints.md."
    ]


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_nothing_in_the_file(faults, folder, text):
    main(folder).write_text(text)
    assert faults(folder) == [
        (
            "blueprint.yaml:1:1: There is nothing in this file. "
            "A blueprint begins with 'apiVersion: agentkit/v1'."
        )
    ]


def test_missing_file_is_one_problem(faults, tmp_path):
    assert faults(tmp_path / "gone") == ["gone: The file cannot be read: No such file or directory."]


def test_agent_file_that_is_no_mapping(faults, folder):
    (folder / "agents" / "empty.yaml").write_text("# nothing yet\n")
    assert faults(folder) == [
        "agents/empty.yaml:1:1: the file: must be a mapping of keys to values, not empty."
    ]


def test_other_suffix_is_not_passed_over(faults, folder):
    (folder / "agents" / "b.yml").write_text("name: b\n")
    assert faults(folder) == ["agents/b.yml: Agent files end in .yaml: rename it."]


def test_faulty_prompt_file_is_reported_with_its_place(faults, folder, tmp_path):
    path = tmp_path / "prompts" / "routing.yaml"
    path.write_text("name: r\nversions: {1: {template: '{{agent}}'}}\n")
    assert faults(folder) == [
        f"{path}:2:27: Unknown variable 'agent'. Valid: (none). Declare it under 'variables'."
    ]


def test_prompts_of_unused_roles_need_not_exist(check, folder, tmp_path):
    (tmp_path / "prompts" / "routing.yaml").unlink()
    (tmp_path / "prompts" / "retrieval.yaml").unlink()
    edit(main(folder), "name: team", "name: team\nrouting: {strategy: [semantic]}")
    edit(writer(folder), "knowledge_scope: [notes]\n", "")
    assert {ref.ref for ref in check(folder).prompts} == {"agents/writer", "supervisor"}


def test_warnings(check, folder):
    edit(main(folder), "name: team", "name: other")
    edit(writer(folder), "[notes]", "[notes, elsewhere]")
    text = writer(folder).read_text().replace("name: writer", "name: second")
    (folder / "agents" / "second.yaml").write_text(text.replace(", elsewhere", ""))
    found = [str(warning).splitlines()[0].replace(f"{folder}/", "") for warning in check(folder).warnings]
    unfed = "No source feeds the scope 'elsewhere'; it holds what 'agentkit ingest' puts there."
    assert found == [
        "blueprint.yaml:3:7: The name 'other' differs from 'team', by which the blueprint is found.",
        "agents/second.yaml:3:12: Another agent has this example too; routing cannot tell them apart.",
        "agents/writer.yaml:3:12: Another agent has this example too; routing cannot tell them apart.",
        f"agents/writer.yaml:6:26: {unfed}",
    ]


def test_a_limit_in_dollars_needs_prices(check, folder):
    edit(main(folder), "name: team", "name: team\nlimits: {cost_usd: 1.5}")
    (warning,) = check(folder).warnings
    assert (
        str(warning)
        .splitlines()[0]
        .endswith(
            "blueprint.yaml:4:20: The price of main, big is unknown, so this limit refuses a second call. "
            "Give the model a price; {input: 0, output: 0} if it costs nothing."
        )
    )


def test_digest_changes_with_content_only(check, folder, tmp_path):
    first = check(folder).digest
    assert check(folder).digest == first
    moved = folder.rename(tmp_path / "moved")
    assert check(moved).digest == first
    prompt = tmp_path / "prompts" / "agents" / "writer.yaml"
    edit(prompt, "Write well.", "Write very well.")
    second = check(moved).digest
    assert second != first
    edit(main(moved), "qwen3:8b", "${env:M:-qwen3:8b}")
    third = check(moved).digest
    assert third != second
    assert check(moved, env={"M": "other"}).digest != third


@pytest.mark.parametrize(
    ("written", "resolved"), [("'^1'", 2), ("'>=1,<2'", 1), ('">1"', 2), ("'2'", 2), ("^2", 2)]
)
def test_a_range_of_prompt_versions_is_pinned_when_loaded(check, folder, tmp_path, written, resolved):
    edit(writer(folder), "version: 2", f"version: {written}")
    loaded = check(folder)
    assert loaded.prompts[loaded.spec.agent("writer").prompt].version == resolved
    prompt = tmp_path / "prompts" / "agents" / "writer.yaml"
    edit(prompt, "2: {template: Write well.}", "2: {template: Write well.}, 3: {template: Write better.}")
    again = check(folder)
    assert (again.digest != loaded.digest) == (written in ("'^1'", '">1"', "^2"))


def test_loaded_blueprint_does_not_change_with_the_prompt_files(check, folder, tmp_path):
    loaded = check(folder)
    edit(tmp_path / "prompts" / "agents" / "writer.yaml", "Write well.", "Write very well.")
    assert loaded.prompts[PromptRef(ref="agents/writer", version=2)].content == "Write well."


def test_find_by_path_and_by_name(folder, tmp_path):
    single = tmp_path / "second" / "solo.yaml"
    single.parent.mkdir()
    single.write_text("name: solo\n")
    search = [tmp_path / "absent", tmp_path, single.parent]
    assert find_blueprint(folder, []) == folder
    assert find_blueprint(str(main(folder)), []) == folder
    assert find_blueprint(single, []) == single
    assert find_blueprint("team", search) == folder
    assert find_blueprint("solo", search) == single
    assert list(list_blueprints(search)) == ["solo", "team"]


def test_first_folder_with_the_name_wins(folder, tmp_path):
    other = tmp_path / "over" / "team.yaml"
    other.parent.mkdir()
    other.write_text("name: team\n")
    assert find_blueprint("team", [other.parent, tmp_path]) == other


@pytest.mark.parametrize("name", ["taem", "./taem", "taem/blueprint.yaml", "../team/nothing"])
def test_unknown_blueprint_lists_those_there_are(folder, tmp_path, name):
    with pytest.raises(UnknownNameError) as caught:
        find_blueprint(name, [tmp_path])
    assert caught.value.choices == ("team",)
    assert f"Searched: {tmp_path}." in str(caught.value)


def test_devassist_is_valid():
    loaded = load(
        find_blueprint("devassist", [ROOT / "blueprints"]),
        prompts=PromptManager([ROOT / "prompts"]),
        providers=["local", "ollama"],
        tools=[],
    )
    assert loaded.warnings == ()
    assert [agent.name for agent in loaded.spec.agents] == ["kubernetes", "python", "systemarchitect"]
    assert {source.scope for source in loaded.sources} == {"architecture", "kubernetes", "python"}
    assert all(list(source.path.glob("*.md")) for source in loaded.sources if source.scope != "architecture")
