"""Blueprints that are agents of another one: read, refused, compiled and run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agentkit.blueprints import LoadedBlueprint, load
from agentkit.blueprints.compiler import Parts, compile_blueprint, needs_embeddings, needs_store
from agentkit.blueprints.drawing import mermaid
from agentkit.blueprints.svg import svg
from agentkit.blueprints.testing import scripts
from agentkit.context import RunContext
from agentkit.errors import AgentTimeoutError, BlueprintError
from agentkit.events import EventBus, RouteDecided
from agentkit.graphs.bridge import Graph
from agentkit.llm.gateway import LLMGateway
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.blueprint_tests import run_test
from agentkit.services.chat import ChatService
from agentkit.weights import WeightsStore

HEAD = "apiVersion: agentkit/v1\nkind: Blueprint\n"
TEAM = """\
name: team
description: Everything.
models: {main: {provider: scripted}}
routing: {strategy: [rules], parallel: 2, rules: [
  {when: "'both' in text", to: [cluster, writer]}, {when: "'pod' in text", to: cluster},
  {when: "'text' in text", to: writer}]}
agents:
  - {name: writer, description: Texts., prompt: {ref: agents/python}}
  - {name: cluster, blueprint: ../cluster}
tests:
  - name: a pod
    input: My pod crashes
    mock: {cluster/kubernetes: [Look at its log.]}
    expect: {route: [cluster], teams: {cluster: [kubernetes]}, answer_contains: log}
"""
CLUSTER = """\
name: cluster
description: Pods and charts.
parameters: {tone: {default: short}}
models: {main: {provider: scripted}}
security: {allowed_modules: [tests]}
routing: {strategy: [rules, llm], parallel: 2, rules: [
  {when: "'pods and charts' in text", to: [kubernetes, helm]}, {when: "'pod' in text", to: kubernetes}]}
knowledge: {sources: [{path: notes, scope: notes}]}
agents:
  - {name: kubernetes, description: Pods., examples: [My pod crashes], prompt: {ref: agents/kubernetes}}
  - {name: helm, description: Charts., examples: [A chart], prompt: {ref: agents/python}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """`blueprints/team` has the team `blueprints/cluster`."""
    root = tmp_path / "blueprints"
    (root / "cluster" / "notes").mkdir(parents=True)
    write(root, "team", TEAM)
    write(root, "cluster", CLUSTER)
    return root


def write(project: Path, name: str, text: str) -> None:
    (project / name).mkdir(exist_ok=True)
    (project / name / "blueprint.yaml").write_text(HEAD + text)


def change(project: Path, name: str, old: str, new: str) -> None:
    file = project / name / "blueprint.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def read(project: Path, name: str = "team", **options: Any) -> LoadedBlueprint:
    prompts = PromptManager(search_path("prompts"))
    return load(project / name, prompts=prompts, providers=["scripted"], tools=[], **options)


@pytest.fixture
def said(project: Path) -> Callable[[], list[str]]:
    """First lines of the problems of `team`, with paths below `blueprints/`."""

    def run() -> list[str]:
        with pytest.raises(BlueprintError) as caught:
            read(project)
        lines = [str(problem).splitlines()[0] for problem in caught.value.problems]
        return [line.replace(f"{project}/", "").replace(str(project), "ROOT") for line in lines]

    return run


def test_a_team_is_read_with_its_own_models_sources_and_prompts(project: Path) -> None:
    loaded = read(project)
    assert [member.name for member in loaded.spec.members] == ["writer", "cluster"]
    assert [agent.name for agent in loaded.spec.agents] == ["writer"]
    cluster = loaded.teams["cluster"]
    assert [agent.name for agent in cluster.spec.agents] == ["kubernetes", "helm"]
    assert loaded.sources == ()
    assert [source.path.name for part in loaded.everything() for source in part.sources] == ["notes"]
    assert [file.parent.name for file in loaded.files] == ["team", "cluster"]


def test_what_it_answers_is_said_by_its_blueprint_unless_the_entry_does(project: Path) -> None:
    [team] = read(project).spec.teams
    assert (team.description, team.examples) == ("Pods and charts.", ("My pod crashes", "A chart"))
    change(
        project, "team", "blueprint: ../cluster", "blueprint: ../cluster, description: Own., examples: [A]"
    )
    [team] = read(project).spec.teams
    assert (team.description, team.examples) == ("Own.", ("A",))


def test_a_team_may_be_a_file_beside_the_agents(project: Path) -> None:
    agents = project / "team" / "agents"
    agents.mkdir()
    (agents / "cluster.yaml").write_text("name: cluster\nblueprint: ../../cluster/blueprint.yaml\n")
    change(project, "team", TEAM[TEAM.index("agents:") : TEAM.index("tests:")], "")
    change(project, "team", "[cluster, writer]", "cluster")
    change(project, "team", "to: writer", "to: supervisor")
    assert list(read(project).teams) == ["cluster"]


def test_a_change_in_a_team_is_another_digest(project: Path) -> None:
    before = read(project).digest
    change(project, "cluster", "description: Charts.", "description: Helm charts.")
    assert read(project).digest != before


def test_parameters_are_handed_down(project: Path) -> None:
    change(project, "cluster", "description: Charts.", 'description: "${param:tone}"')
    change(project, "team", "models:", "parameters: {mood: {default: kind}}\nmodels:")
    change(project, "team", "../cluster}", '../cluster, parameters: {tone: "${param:mood}"}}')
    assert read(project).teams["cluster"].spec.agent("helm").description == "kind"
    assert read(project, parameters={"mood": "dry"}).teams["cluster"].spec.agent("helm").description == "dry"


def test_an_unknown_parameter_is_reported_where_it_is_given(project: Path, said: Any) -> None:
    change(project, "team", "../cluster}", "../cluster, parameters: {tune: loud}}")
    [line] = said()
    assert line.startswith("team/blueprint.yaml:11:")
    assert "Unknown parameter 'tune'. Did you mean 'tone'?" in line


def test_all_faults_come_in_one_run_each_in_its_own_file(project: Path, said: Any) -> None:
    change(project, "team", "name: writer,", "name: writer, modle: main,")
    change(project, "cluster", "description: Pods.,", "description: Pods., modl: x,")
    change(project, "cluster", "ref: agents/python", "ref: agents/pyton")
    lines = said()
    assert [line.split(": ")[0] for line in lines] == [
        "team/blueprint.yaml:10:20", "cluster/blueprint.yaml:12:44", "cluster/blueprint.yaml:13:75",
    ]  # fmt: skip
    assert "Unknown key 'modle'. Did you mean 'model'?" in lines[0]
    assert "Unknown prompt 'agents/pyton'." in lines[2]


def test_a_key_that_only_agents_have_is_refused_in_a_team(project: Path, said: Any) -> None:
    change(project, "team", "../cluster}", "../cluster, prompt: {ref: agents/python}, paramters: {}}")
    lines = said()
    assert "Unknown key 'prompt'." in lines[0]
    assert "Unknown key 'paramters'. Did you mean 'parameters'?" in lines[1]
    assert "tools" not in lines[0]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../outside", "'../../outside' is outside of 'ROOT', the folder blueprints may take teams from."),
        ("/etc/passwd", "the path '/etc/passwd' must be relative to this file."),
        (
            "../clustr",
            (
                "there is no file '../clustr', nor a folder of that name with blueprint.yaml. "
                "Did you mean 'cluster'?"
            ),
        ),
        (".", "a cycle: team/blueprint.yaml → team/blueprint.yaml."),
        ("../link", "'../link' is outside of 'ROOT', the folder blueprints may take teams from."),
    ],
)
def test_refused_paths(project: Path, said: Any, path: str, reason: str) -> None:
    (project.parent / "outside").mkdir()
    (project.parent / "outside" / "blueprint.yaml").write_text(HEAD + CLUSTER)
    (project / "link").symlink_to(project.parent / "outside")
    change(project, "team", "blueprint: ../cluster", f"blueprint: {path}")
    assert f"team/blueprint.yaml:11:32: blueprint: {reason}" in said()


def test_a_cycle_is_refused_with_its_chain_and_its_place(project: Path, said: Any) -> None:
    change(
        project, "cluster", "agents:\n", "agents:\n  - {name: again, description: x, blueprint: ../team}\n"
    )
    chain = "team/blueprint.yaml → cluster/blueprint.yaml → team/blueprint.yaml"
    assert said() == [f"cluster/blueprint.yaml:12:46: blueprint: a cycle: {chain}."]


def test_a_cycle_through_extends_is_one_too(project: Path, said: Any) -> None:
    change(project, "cluster", "description: Pods and", "extends: ../team\ndescription: Pods and")
    assert "blueprint: a cycle: cluster/blueprint.yaml → cluster/blueprint.yaml." in said()[0]


def test_depth_and_number_are_bounded(project: Path, said: Any) -> None:
    for number in range(12):
        below = f"../t{number + 1}" if number < 11 else "../cluster"
        write(
            project,
            f"t{number}",
            f"name: t{number}\nagents: [{{name: n, description: d, blueprint: {below}}}]\n",
        )
    change(project, "team", "blueprint: ../cluster", "blueprint: ../t0")
    assert any("more than 8 teams within one another." in line for line in said())
    # Each level has the next one three times: 3 + 9 + 27 + 81 teams.
    entries = "".join(f"  - {{name: n{i}, description: d, blueprint: BELOW}}\n" for i in range(3))
    for number in range(4):
        below = f"../t{number + 1}" if number < 3 else "../cluster"
        write(project, f"t{number}", f"name: t{number}\nagents:\n{entries.replace('BELOW', below)}")
    assert any("more than 64 teams in all." in line for line in said())


def test_a_team_loads_no_code_that_the_blueprint_above_does_not_allow(project: Path, said: Any) -> None:
    change(
        project, "cluster", "description: Pods.,", "description: Pods., tools: [{use: 'tests.helpers:add'}],"
    )
    assert read(project, "cluster").spec.agent("kubernetes").tools
    [line] = said()
    assert line.startswith("cluster/blueprint.yaml:12:58: ")
    assert (
        "'tests.helpers:add' is not under security.allowed_modules of 'team', of which this is a team."
        in line
    )
    change(project, "team", "models:", "security: {allowed_modules: [tests.helpers]}\nmodels:")
    assert read(project).teams["cluster"].spec.agent("kubernetes").tools


def test_a_team_starts_no_command_that_the_blueprint_above_does_not_allow(project: Path, said: Any) -> None:
    change(
        project, "cluster", "[tests]}", "[tests], allowed_commands: [uvx]}\nmcp_servers: {t: {command: uvx}}"
    )
    assert list(read(project, "cluster").mcp_servers) == ["t"]
    [line] = said()
    assert line.startswith("cluster/blueprint.yaml:8:")
    assert "'uvx' is not in security.allowed_commands of 'team', of which this is a team." in line
    change(project, "team", "models:", "security: {allowed_commands: [uvx]}\nmodels:")
    assert list(read(project).teams["cluster"].mcp_servers) == ["t"]


def test_a_team_needs_a_description_somewhere(project: Path, said: Any) -> None:
    change(project, "cluster", "description: Pods and charts.\n", "")
    [line] = said()
    assert line.startswith(
        "team/blueprint.yaml:11:5: The team needs a description: here, or in '../cluster'."
    )


def test_tests_name_those_who_are_there(project: Path, said: Any) -> None:
    change(project, "team", "cluster/kubernetes:", "cluster/kubernetse:")
    change(project, "team", "teams: {cluster:", "teams: {clustr:")
    lines = said()
    assert "Unknown agent or model 'cluster/kubernetse'. Did you mean 'cluster/kubernetes'?" in lines[0]
    assert "cluster/main, cluster/supervisor" in lines[0]
    assert "Unknown team 'clustr'. Did you mean 'cluster'?" in lines[1]
    change(project, "cluster", "kind: Blueprint", "kind: Blueprnt")
    assert not any("kubernetse" in line for line in said())


def test_what_a_team_needs_is_needed(project: Path) -> None:
    loaded = read(project)
    assert (needs_store(loaded), needs_embeddings(loaded)) == (False, False)
    change(project, "cluster", "description: Pods.,", "description: Pods., knowledge_scope: [notes],")
    assert needs_store(read(project))
    change(project, "cluster", "[rules, llm]", "[rules, semantic]")
    assert needs_embeddings(read(project), retrieve=False)


def test_pictures_show_who_is_in_it(project: Path) -> None:
    loaded = read(project)
    drawn = mermaid(loaded.spec, loaded.teams).splitlines()
    assert '    subgraph a1["cluster"]' in drawn
    assert '        a1_supervisor{"supervisor<br/>rules → llm"}' in drawn
    assert "        a1_supervisor --> a1_0_model" in drawn
    assert "    supervisor --> a1_supervisor" in drawn
    assert "    a1_1_model --> finish" in drawn
    assert [line.strip() for line in drawn].count("end") == sum("subgraph" in line for line in drawn)
    root = fromstring(svg(loaded.spec, loaded.teams))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[texts.index("cluster") + 2 :][:2] == [
        "team, routing: rules → llm",
        "• kubernetes: model main, scripted",
    ]


def compiled(
    project: Path,
    mock: dict[str, list[Any]],
    *,
    events: EventBus | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
) -> Graph:
    loaded = read(project)
    case = loaded.spec.tests[0].model_copy(update={"mock": mock})
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(project))
    saver = checkpointer or InMemorySaver()
    parts = Parts(gateway, None, None, saver, events or EventBus(), None, scripts(case))
    return compile_blueprint(loaded, parts)


async def test_the_turn_keeps_the_outer_route_and_tells_the_inner_one(project: Path) -> None:
    decided: list[tuple[str, tuple[str, ...]]] = []
    events = EventBus()
    events.subscribe(
        lambda e: decided.append((e.blueprint, e.agents)) if isinstance(e, RouteDecided) else None
    )
    graph = compiled(project, {"cluster/kubernetes": ["Look at its log."]}, events=events)
    told = [event async for event in ChatService(graph).stream("My pod", thread_id="t")]
    assert [event.type for event in told if event.type != "token"] == ["route", "team_route", "usage", "done"]
    assert "".join(event.data for event in told if event.type == "token") == "Look at its log."
    inner = next(event.data for event in told if event.type == "team_route")
    assert (inner.team, inner.route["agents"], inner.route["method"]) == ("cluster", ["kubernetes"], "rules")
    answer = told[-1].data
    assert (answer.answer, answer.route["agents"]) == ("Look at its log.", ["cluster"])
    assert answer.to_dict()["teams"]["cluster"]["agents"] == ["kubernetes"]
    assert decided == [("team", ("cluster",)), ("cluster", ("kubernetes",))]
    state = await graph.aget_state({"configurable": {"thread_id": "t"}})
    assert state.values["teams"]["cluster"]["agents"] == ["kubernetes"]
    # The next turn, which no team answers, has no team's decision.
    graph = compiled(project, {"writer": ["Dear all"]}, checkpointer=graph.checkpointer)  # type: ignore[arg-type]
    answer = await ChatService(graph).ask("A text", thread_id="t")
    assert "teams" not in answer.to_dict()
    assert (await graph.aget_state({"configurable": {"thread_id": "t"}})).values["teams"] == {}


async def test_its_own_supervisor_answers_what_fits_nobody_in_it(project: Path) -> None:
    mock = {"cluster/supervisor": [{"agents": ["none"]}, "Ask me about pods."]}
    change(project, "cluster", "'pod' in text", "'chart' in text")
    answer = await ChatService(compiled(project, mock)).ask("My pod")
    assert (answer.answer, answer.teams["cluster"]["agents"]) == ("Ask me about pods.", [])


async def test_several_within_a_team_are_told_as_one_piece(project: Path) -> None:
    mock = {"cluster/kubernetes": ["Pods are fine."], "cluster/helm": ["Charts too."]}
    graph = compiled(project, mock)
    told = [event async for event in ChatService(graph).stream("pods and charts")]
    joined = "**kubernetes**\n\nPods are fine.\n\n**helm**\n\nCharts too."
    assert [event.data for event in told if event.type == "token"] == [joined]
    assert told[-1].data.answer == joined


async def test_a_team_is_one_of_several(project: Path) -> None:
    mock = {"cluster/kubernetes": ["Pods are fine."], "cluster/helm": ["Charts too."], "writer": ["Dear all"]}
    told = [event async for event in ChatService(compiled(project, mock)).stream("both pods and charts")]
    words = "".join(event.data for event in told if event.type == "token")
    assert words == told[-1].data.answer
    assert words == (
        "**cluster**\n\n**kubernetes**\n\nPods are fine.\n\n**helm**\n\nCharts too.\n\n**writer**\n\nDear all"
    )
    assert list(told[-1].data.teams) == ["cluster"]


async def test_limits_of_the_entry_and_of_the_team_both_hold(project: Path) -> None:
    change(project, "team", "../cluster}", "../cluster, limits: {model_calls: 1}}")
    change(project, "cluster", "agents:\n", "limits: {model_calls: 5}\nagents:\n")
    change(project, "cluster", "'pod' in text", "'chart' in text")
    mock = {"cluster/supervisor": [{"agents": ["kubernetes"]}], "cluster/kubernetes": ["No."]}
    answer = await ChatService(compiled(project, mock)).ask("My pod")
    assert [(it["limit"], it["of"], it["allowed"]) for it in answer.limits_reached] == [
        ("model_calls", "team", 1)
    ]
    assert "limit of 1 model call is reached" in answer.answer


async def test_a_team_that_takes_too_long_is_an_agent_that_does(project: Path) -> None:
    change(project, "team", "../cluster}", "../cluster, limits: {timeout: 0.001ms}}")
    with pytest.raises(AgentTimeoutError, match="cluster"):
        await ChatService(compiled(project, {"cluster/kubernetes": ["Late."]})).ask("My pod")


async def test_who_has_no_script_is_named_by_its_path(project: Path) -> None:
    result = await run_test(read(project).spec.tests[0], lambda spoken, _: as_made(project, spoken))
    assert result.passed
    change(project, "team", "cluster/kubernetes: [Look at its log.]", "writer: [No.]")
    result = await run_test(read(project).spec.tests[0], lambda spoken, _: as_made(project, spoken))
    assert "cluster/kubernetes" in result.outcome.error_text


async def test_another_choice_within_a_team_fails_a_test(project: Path) -> None:
    change(project, "team", "teams: {cluster: [kubernetes]}", "teams: {cluster: [helm]}")
    result = await run_test(read(project).spec.tests[0], lambda spoken, _: as_made(project, spoken))
    assert [(m.key, m.expected, m.got) for m in result.mismatches] == [
        ("teams.cluster", "helm", "kubernetes")
    ]


async def as_made(project: Path, spoken: Any) -> Graph:
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(project))
    return compile_blueprint(
        read(project), Parts(gateway, None, None, InMemorySaver(), EventBus(), None, spoken)
    )


async def test_an_approval_within_a_team_pauses_the_turn_and_is_answered_from_outside(project: Path) -> None:
    use = "tests.graphs.test_parallel:approve"
    change(project, "team", "models:", "security: {allowed_modules: [tests]}\nmodels:")
    change(project, "cluster", "description: Pods.,", f"description: Pods., tools: [{{use: '{use}'}}],")
    saver = InMemorySaver()
    call = {"tool": "approve", "arguments": {"what": "restart"}}
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph = compiled(project, {"cluster/kubernetes": [call]}, checkpointer=saver)
    result = await graph.ainvoke({"messages": [("user", "My pod")]}, thread, context=RunContext())  # type: ignore[arg-type]
    [pause] = result["__interrupt__"]
    assert pause.value == {"approve": "restart"}
    # Another process: the graph is made anew, and only what is left of the script is said.
    graph = compiled(project, {"cluster/kubernetes": ["Done."]}, checkpointer=saver)
    result = await graph.ainvoke(Command(resume={pause.id: "yes"}), thread, context=RunContext())
    assert result["messages"][-1].text == "Done."
    assert result["teams"]["cluster"]["agents"] == ["kubernetes"]
