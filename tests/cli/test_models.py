"""`agentkit models`: what is configured, what is offered, and how vLLM is started for it."""

import itertools
import json
import shlex
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .conftest import Project

KEY = "sk-secret-of-the-test"


class Api(BaseHTTPRequestHandler):
    """An OpenAI-compatible list of 25 models, for those who know the key."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == f"Bearer {KEY}"
        models = [{"id": f"model-{number:02}", "object": "model"} for number in range(25)]
        refused = {"error": {"message": "Incorrect API key provided.", "type": "authentication_error"}}
        body = json.dumps({"object": "list", "data": models} if known else refused).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def configure(project: Project, api: str, key: str = KEY) -> None:
    there = {"base_url": api, "api_key": key}
    models = {
        "main": {"provider": "vllm", "model": "model-03", "options": there, "fallbacks": ["gone", "paid"]},
        "twin": {"provider": "vllm", "model": "absent", "options": there},
        "gone": {"provider": "vllm", "model": "m", "options": {"base_url": "http://127.0.0.1:9/v1"}},
        "paid": {"provider": "scripted", "model": "s", "price": {"input": 0.5, "output": 2}},
        "listed": {"provider": "openai", "model": "gpt-4.1-mini", "options": {"base_url": api}},
        "mine": {"use": "os:system"},
    }
    (project.root / "agentkit.yaml").write_text(json.dumps({"models": models}))


def test_every_model_is_a_row_also_those_that_cannot_answer(project: Project, api: str) -> None:
    configure(project, api)
    done = project.run("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["models"]}
    assert rows["main"]["ok"]
    assert rows["main"]["fallbacks"] == ["gone", "paid"]
    assert (rows["main"]["provider"], rows["main"]["native_tools"]) == ("vllm", True)
    assert (rows["main"]["price"], rows["main"]["price_source"]) == (None, "unknown")
    assert "has no model absent" in rows["twin"]["detail"]
    assert "No connection to vLLM" in rows["gone"]["detail"]
    assert rows["gone"]["fix"] == "Is the address right, and does it answer?"
    assert rows["paid"]["price"] == {"input": 0.5, "output": 2.0, "cache_read": None}
    assert rows["paid"]["price_source"] == "configured"
    assert rows["listed"]["fix"].startswith("Set OPENAI_API_KEY")
    assert "security.allowed_modules" in rows["mine"]["detail"]
    offers = {offer["address"]: offer for offer in found["offers"] if offer["provider"] == "vllm"}
    assert len(offers) == 2  # main and twin share one address: asked once
    assert len(offers[api]["models"]) == 25
    assert "No connection" in offers["http://127.0.0.1:9/v1"]["detail"]
    assert {row["name"] for row in found["weights"]} > {"all-minilm-l6-v2"}


def test_long_offers_are_cut_short_unless_all_are_wanted(project: Project, api: str) -> None:
    configure(project, api)
    short = project.run("models", "list").stdout
    assert "offers 25: model-00" in short
    assert "model-19, and 5 more (--all)" in short
    assert "model-24" in project.run("models", "list", "--all").stdout


def test_a_blueprints_models_are_listed_with_its_name(project: Project, api: str) -> None:
    configure(project, api)
    done = project.run("models", "list", "--blueprint", "team", "--json")
    rows = [row for row in json.loads(done.stdout)["models"] if row["blueprint"]]
    assert [(row["blueprint"], row["name"], row["provider"]) for row in rows] == [
        ("team", "main", "scripted")
    ]
    assert "team: main" in project.run("models", "list", "--blueprint", "team").stdout
    assert project.run("models", "list", "--blueprint", "tem").returncode == 2


def test_a_wrong_key_and_an_absent_server_are_clear_in_the_doctors_words(project: Project, api: str) -> None:
    configure(project, api, key="sk-wrong-and-secret")
    done = project.run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert "vLLM answered 401: Incorrect API key provided." in found["model twin"]["detail"]
    assert "api_key" in found["model twin"]["fix"]
    assert "No connection to vLLM at http://127.0.0.1:9/v1" in found["model gone"]["detail"]
    assert "sk-wrong-and-secret" not in done.stdout + done.stderr


def test_nothing_configured_imports_no_sdk(project: Project) -> None:
    script = (
        "import sys; sys.argv[1:] = ['models', 'list', '--json']\n"
        "from agentkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sdks = {'openai', 'anthropic', 'ollama', 'langchain_openai', 'langchain_ollama', 'xllamacpp'}\n"
        "sys.exit(', '.join(sdks & set(sys.modules)) or 0)\n"
    )
    done = project.python(script, AGENTKIT_OLLAMA__BASE_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert json.loads(done.stdout)["models"][0]["provider"] == "local"


def serve(project: Project, *arguments: str) -> list[str]:
    done = project.run("models", "serve-command", "vllm", *arguments)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout.replace("\\\n", " "))


def vllm(project: Project, **model: object) -> None:
    config = {"models": {"main": {"provider": "vllm", **model}, "other": {"provider": "scripted"}}}
    (project.root / "agentkit.yaml").write_text(json.dumps(config))


def test_the_command_comes_from_the_configured_model(project: Project) -> None:
    vllm(project, model="chat", options={"base_url": "http://127.0.0.1:8123/v1", "api_key": KEY})
    words = serve(project, "Qwen/Qwen3-8B")
    assert words == [
        "VLLM_API_KEY=${VLLM_API_KEY:?}", "vllm", "serve", "Qwen/Qwen3-8B",
        "--served-model-name", "chat", "--host", "127.0.0.1", "--port", "8123",
    ]  # fmt: skip
    assert KEY not in " ".join(words)


def test_every_flag_is_passed_on_and_quoted(project: Project) -> None:
    flags = {
        "--tensor-parallel-size": "4", "--max-model-len": "32768", "--gpu-memory-utilization": "0.85",
        "--max-num-seqs": "64", "--quantization": "awq", "--tool-call-parser": "hermes",
        "--host": "10.0.0.5", "--port": "9000", "--served-model-name": "a b; rm -rf",
    }  # fmt: skip
    given = [word for pair in flags.items() for word in pair]
    words = serve(project, "./my weights", *given, "--structured-outputs", "xgrammar", "--one-line")
    assert words[:4] == ["vllm", "serve", "./my weights", "--enable-auto-tool-choice"]
    assert dict(zip(words[4::2], words[5::2], strict=True)) == {
        **flags,
        "--structured-outputs-config.backend": "xgrammar",
    }


def test_the_shell_runs_it_as_it_is_and_stops_without_the_key(project: Project) -> None:
    vllm(project, model="it's", options={"api_key": KEY})
    (project.root / "vllm").write_text('#!/bin/sh\nprintf "%s|" "$VLLM_API_KEY" "$@"\n')
    (project.root / "vllm").chmod(0o755)
    command = project.run("models", "serve-command", "vllm", "--tool-call-parser", "hermes").stdout

    def shell(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            env={"PATH": f"{project.root}:/usr/bin:/bin", **env},
            cwd=project.root,
            capture_output=True,
            text=True,
            check=False,
        )

    done = shell(VLLM_API_KEY="k")
    assert done.stdout.startswith("k|serve|it's|--enable-auto-tool-choice|"), done.stderr
    refused = shell()
    assert refused.returncode != 0
    assert "VLLM_API_KEY" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("https://llm.example.com/v1", None, None),
        ("http://10.0.0.5:8000/v1", None, "8000"),
        ("http://localhost/v1", "127.0.0.1", "80"),
    ],
)
def test_the_address_says_where_to_listen(
    project: Project, address: str, host: str | None, port: str | None
) -> None:
    vllm(project, model="m")
    done = project.run("models", "serve-command", "vllm", "--one-line", AGENTKIT_VLLM__BASE_URL=address)
    words = dict(itertools.pairwise(done.stdout.split()))
    assert (words.get("--host"), words.get("--port")) == (host, port)


def test_what_cannot_be_served_is_refused(project: Project) -> None:
    def refused(*arguments: str) -> tuple[int, str]:
        done = project.run("models", "serve-command", *arguments)
        return done.returncode, done.stderr

    code, said = refused("vllm")
    assert code == 1
    assert "There is no model to serve." in said
    vllm(project, model="m")
    code, said = refused("vllm", "--name", "othr")
    assert code == 2
    assert "Did you mean 'other'" in said
    code, said = refused("vllm", "--name", "other")
    assert code == 1
    assert "not served by vLLM but by scripted" in said
    assert refused("vllm", "--gpu-memory-utilization", "1.5")[0] == 2
    assert refused("tgi")[0] == 2
