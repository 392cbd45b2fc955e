"""`mcp_servers` and tools taken from them, as written in YAML; nothing is connected here."""
# ruff: noqa: E501, ISC004 - a fault and what is said of it are one line

from pathlib import Path

import pytest
from pydantic import SecretStr

from agentkit.blueprints.agent_tools import agent_tools, used_servers
from agentkit.blueprints.agents import AgentSpec
from agentkit.errors import ConfigurationError
from agentkit.graphs.approval import tool_name
from agentkit.llm.providers.scripted import Script
from agentkit.tools.mcp import HttpServer, McpTool, StdioServer

TEAM = """\
apiVersion: agentkit/v1
kind: Blueprint
name: pair
models:
  main: {provider: scripted}
security: {allowed_commands: [python]}
mcp_servers:
  tickets: {url: "${env:MCP_URL:-http://127.0.0.1:9/mcp}", headers: {X-Team: "a", Authorization: "${secret:T}"}}
  files: {command: python, args: [-m, files], env: {KEY: "${secret:T}"}, cwd: data, timeout: 2m}
agents:
  - name: writer
    description: Writes.
    prompt: {ref: agents/writer}
    tools: [{mcp: tickets, include: ["get_*"], exclude: ["*_admin"]}, {mcp: files}]
"""
ENV = {"T": "t0p-secret"}


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A valid blueprint with two MCP servers, in one file."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "pair.yaml"
    file.write_text(TEAM)
    return file


def change(file: Path, old: str, new: str) -> None:
    assert old in TEAM
    file.write_text(TEAM.replace(old, new))


def test_servers_as_they_are_connected_to(check, pair):
    loaded = check(pair, env=ENV)
    assert loaded.warnings == ()
    tickets, files = loaded.mcp_servers["tickets"], loaded.mcp_servers["files"]
    assert isinstance(tickets, HttpServer)
    assert (tickets.name, tickets.url, tickets.timeout) == ("tickets", "http://127.0.0.1:9/mcp", 30.0)
    assert tickets.headers == {"X-Team": "a", "Authorization": SecretStr("t0p-secret")}
    where = pair.parent / "data"
    assert files == StdioServer(
        "files", "python", ("-m", "files"), {"KEY": SecretStr("t0p-secret")}, where, 120.0
    )


def test_a_command_runs_where_its_file_is_unless_told(check, pair):
    (pair.parent / "shared").mkdir()
    base = pair.parent / "shared" / "base.yaml"
    base.write_text("mcp_servers: {files: {command: python}}\nsecurity: {allowed_commands: [python]}\n")
    text = TEAM[: TEAM.index("  files:")] + TEAM[TEAM.index("agents:") :]
    pair.write_text(text.replace("security: {allowed_commands: [python]}\n", "extends: shared/base.yaml\n"))
    assert check(pair, env=ENV).mcp_servers["files"].cwd == base.parent


def test_nothing_shows_a_secret_and_the_digest_does_not_know_it(check, pair):
    loaded = check(pair, env=ENV)
    shown = f"{loaded!r} {loaded.spec.model_dump_json()} {loaded.spec.model_dump(mode='json')}"
    assert "t0p-secret" not in shown
    assert '"Authorization":"**********"' in shown
    assert check(pair, env={"T": "another"}).digest == loaded.digest
    assert check(pair, env={**ENV, "MCP_URL": "http://127.0.0.1:10/mcp"}).digest != loaded.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mcp: files", "mcp: tickts", "14:77: Unknown MCP server 'tickts'. Did you mean 'tickets'? Valid: files, tickets."),
        ("mcp: files", "mcp: tickets", "14:77: The MCP server 'tickets' is listed twice; put all patterns into one include."),
        ("[python]", "[node]", "9:20: The command 'python' is not in security.allowed_commands. Allowed: node. It would be run with your rights: add it there if you trust it, and its arguments."),
        ("[python]", "[]", "9:20: The command 'python' is not in security.allowed_commands. Allowed: (none). It would"),
        ("command: python", "command: /usr/bin/python", "The command '/usr/bin/python' is not in security.allowed_commands. Allowed: python."),
        ("cwd: data", "cwd: dta", "9:79: There is no folder"),
        ("command: python,", "", "9:10: mcp_servers.files: a server has either 'url' or 'command', and only one of them."),
        ("command: python,", "url: http://h, command: python,", "only one of them."),
        ("command: python,", "url: http://h,", "'args' belongs to a server with 'command', this one has 'url'."),
        ("cwd: data", "headers: {A: b}", "'headers' belongs to a server with 'url', this one has 'command'."),
        ("command: python", "comand: python", "9:11: Unknown key 'comand'. Did you mean 'command'? Valid: args, command, cwd, env, headers, timeout, url."),
        ("timeout: 2m", "timeout: 2", "mcp_servers.files.timeout: must be a duration with a unit"),
        ('"a"', "3", "8:78: mcp_servers.tickets.headers.X-Team: must be text (put it in quotes)."),
        ("http://127.0.0.1:9/mcp", "127.0.0.1:9", "8:18: mcp_servers.tickets.url: must be an address like https://host/mcp."),
        ("http://127.0.0.1:9/mcp", "http://[x", "must be an address like https://host/mcp."),
        ("http://127.0.0.1:9/mcp", "http://h:99999", "must be an address like https://host/mcp."),
        ("http://127.0.0.1:9/mcp", "http://u:p@h", "must not hold a password: put it into headers, as ${secret:NAME}."),
        ("-m, files", '"${secret:T}"', "a secret may stand only under models.NAME.options, and in headers and env of an MCP server."),
        ("${env:MCP_URL:-http://127.0.0.1:9/mcp}", "http://h/${secret:T}", "8:28: ${secret:T}: a secret may stand only under"),
        ("mcp: files", "include: [a], name: x", "'include' and 'exclude' choose among the tools of an MCP server: add 'mcp'."),
        ("mcp: files", "mcp: files, name: x", "a tool has either 'name', 'use' or 'mcp', and only one of them."),
        ("get_*", "get *", "14:38: The pattern 'get *' has a space in it; names of tools have none."),
        ("*_admin", "[ab", "14:58: The pattern '[ab' opens a '[' that nothing closes; *, ? and [abc] have a meaning."),
    ],
)  # fmt: skip
def test_faults(faults, pair, old, new, said):
    change(pair, old, new)
    problems = faults(pair, env=ENV)
    assert any(said in problem for problem in problems), problems
    assert len(problems) == 1, problems
    assert "t0p" not in str(problems)


def test_warnings(check, pair):
    change(pair, ", {mcp: files}]", "]")
    pair.write_text(pair.read_text().replace("X-Team", "X-API-Key"))
    said = [str(warning).splitlines()[0] for warning in check(pair, env=ENV).warnings]
    assert [text.split(" ", 1)[1] for text in said] == [
        "X-API-Key looks like a secret: write it as ${secret:NAME}, then nothing shows it.",
        "No agent uses the MCP server 'files'; it is never connected.",
    ]
    assert ":9:3:" in said[1]


def offered(*names: str, server: str = "tickets") -> list[McpTool]:
    schema = {"type": "object", "properties": {}}
    return [
        McpTool(name=name, offered_as=name, server=server, description="", args_schema=schema)
        for name in names
    ]


def agent(*tools: dict[str, object], name: str = "writer", model: str = "main") -> AgentSpec:
    written = {"name": name, "description": "W", "prompt": {"ref": "w"}, "model": model, "tools": tools}
    return AgentSpec.model_validate(written)


def test_include_and_exclude_choose_in_the_servers_order():
    tickets = {"tickets": offered("set", "get_b", "get_admin", "get_a")}
    for include, exclude, chosen in (
        ([], [], ["set", "get_b", "get_admin", "get_a"]),
        (["get_*"], [], ["get_b", "get_admin", "get_a"]),
        (["get_a", "get_*"], ["*_admin"], ["get_b", "get_a"]),
        ([], ["get_?"], ["set", "get_admin"]),
        (["GET_*", "get_a"][1:], [], ["get_a"]),
    ):
        writer = agent({"mcp": "tickets", "include": include, "exclude": exclude})
        assert [tool_name(tool) for _, tool in agent_tools(writer, (), tickets)] == chosen


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {"include": ["get_tickt"]},
            "The agent 'writer' includes 'get_tickt' of the MCP server 'tickets', which offers no such tool. "
            "Did you mean 'get_ticket'?\nIt offers: get_owner, get_ticket.",
        ),
        (
            {"include": ["get_*"], "exclude": ["*"]},
            "The agent 'writer' gets no tool of the MCP server 'tickets'.\nIt offers: get_owner, get_ticket.",
        ),
    ],
)
def test_patterns_that_leave_nothing(written, said):
    with pytest.raises(ConfigurationError) as caught:
        agent_tools(agent({"mcp": "tickets", **written}), (), {"tickets": offered("get_ticket", "get_owner")})
    assert str(caught.value).startswith(said)


def test_an_exclusion_that_fits_nothing_is_warned_of(caplog):
    agent_tools(agent({"mcp": "tickets", "exclude": ["*_admn"]}), (), {"tickets": offered("del_admin")})
    assert "agent writer: '*_admn', excluded of the MCP server tickets, fits none of its tools" in caplog.text


def test_two_tools_of_one_name():
    both = {"one": offered("search", server="one"), "two": offered("search", server="two")}
    with pytest.raises(ConfigurationError) as caught:
        agent_tools(agent({"mcp": "one"}, {"mcp": "two"}), (), both)
    assert str(caught.value) == (
        "The agent 'writer' would have two tools called 'search': of mcp one and of mcp two.\n"
        "Leave one out; of an MCP server with exclude: [search]."
    )
    taken = {"one": offered("relpath", server="one")}
    with pytest.raises(ConfigurationError, match=r"'relpath': of mcp one and of os\.path:relpath"):
        agent_tools(agent({"mcp": "one"}, {"use": "os.path:relpath"}), ("os",), taken)


def test_a_test_connects_only_what_its_scripts_call():
    agents = [
        agent({"mcp": "one"}, name="calls"),
        agent({"mcp": "two"}, name="speaks"),
        agent({"mcp": "three"}, name="by-model", model="big"),
        agent({"mcp": "four"}, name="silent"),
    ]
    assert used_servers(agents) == ["one", "two", "three", "four"]
    scripts = {"calls": Script({"tool": "x"}), "speaks": Script("Hi."), "big": Script("a", {"tool": "x"})}
    assert used_servers(agents, scripts) == ["one", "three"]
