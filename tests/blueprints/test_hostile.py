"""Files made to hang, to fill memory or to run code: refused, quickly, by name."""

import os
import threading
from pathlib import Path

import pytest

from agentkit.blueprints import load
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptManager

ROOT = Path(__file__).parents[2]
HEAD = "apiVersion: agentkit/v1\nkind: Blueprint\nname: hostile\n"
PROMPTS = PromptManager(ROOT / "prompts")


def refused(path: Path) -> list[str]:
    """The faults of a blueprint; a load that does not come back fails the test instead of hanging it."""
    found: list[str] = []

    def run() -> None:
        with pytest.raises(BlueprintError) as caught:
            load(path, prompts=PROMPTS)
        found.extend(str(problem).splitlines()[0] for problem in caught.value.problems)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the loader hangs"
    return found


def file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_billion_laughs(tmp_path):
    bomb = "description: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    bomb += "".join(f"x{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 10))
    path = file(tmp_path, HEAD + bomb)
    assert refused(path)[0] == f"{path}:1:1: More than 50000 values once aliases are expanded."


def test_an_alias_that_contains_itself(tmp_path):
    path = file(tmp_path, HEAD + "models: &m {main: *m}\n")
    assert f"{path}:4:9: An alias refers to something that contains it." in refused(path)


@pytest.mark.parametrize(
    "text", ["x: " + "[" * 5000, "x:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 900))]
)
def test_deep_nesting(tmp_path, text):
    assert "Nested deeper than 40 levels." in refused(file(tmp_path, HEAD + text))[0]


def test_very_many_values(tmp_path):
    path = file(tmp_path, HEAD + "x: [" + "a," * 200_000 + "]\n")
    assert refused(path) == [f"{path}:4:199987: More than 50000 values."]


def test_very_many_faults(tmp_path):
    assert len(refused(file(tmp_path, HEAD + "".join(f"x{n}: 1\n" for n in range(3_000))))) <= 102
    assert len(refused(file(tmp_path, HEAD + "x: 1\n" * 3_000))) <= 202


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "hostile.yaml"
    with path.open("wb") as stream:
        stream.truncate(50 << 20)
    assert refused(path) == [f"{path}: The file is larger than 1 MiB: split it."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: a\x00b\n", ":1:8: Character '\\x00' is not allowed in YAML."),
        (b"name: caf\xe9\n", ":1: The file is not UTF-8: save it as UTF-8."),
        ("name: a\n".encode("utf-16"), ":1: The file is not UTF-8: save it as UTF-8."),
        (bytes(range(128, 256)), ":1: The file is not UTF-8: save it as UTF-8."),
        ("name: a\ud800b".encode("utf-8", "surrogatepass"), ":1: The file is not UTF-8: save it as UTF-8."),
    ],
)
def test_what_is_no_text(tmp_path, content, said):
    path = file(tmp_path, content)
    assert refused(path) == [f"{path}{said}"]


def test_a_link_in_a_circle(tmp_path):
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    found = refused(tmp_path / "a.yaml")
    assert found == [f"{tmp_path}/a.yaml: The file cannot be read: Too many levels of symbolic links."]
    path = file(
        tmp_path, HEAD + "extends: a.yaml\nknowledge: {sources: [{path: b.yaml, scope: x}]}\nagents: []\n"
    )
    assert any(fault.startswith(f"{path}:4:10: extends: ") for fault in refused(path))


def test_a_pipe_instead_of_a_file(tmp_path):
    (tmp_path / "team" / "agents").mkdir(parents=True)
    (tmp_path / "team" / "blueprint.yaml").write_text(HEAD)
    pipe = tmp_path / "team" / "agents" / "pipe.yaml"
    os.mkfifo(pipe)
    assert f"{pipe}: The file cannot be read: It is not a regular file." in refused(tmp_path / "team")
    (tmp_path / "team" / "agents" / "zero.yaml").symlink_to("/dev/zero")
    assert sum("It is not a regular file" in fault for fault in refused(tmp_path / "team")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "description: !!python/object/apply:os.system ['touch {ran}']\n",
        "description: !!python/object/new:subprocess.Popen [['touch', '{ran}']]\n",
        "? !!python/object/apply:os.system ['touch {ran}']\n: x\n",
        "description: !!python/name:os.system\n",
        "%TAG ! tag:yaml.org,2002:python/\n---\ndescription: !object/apply:os.system ['touch {ran}']\n",
        "routing: {{rules: [{{when: \"__import__('os').system('touch {ran}')\", to: a}}]}}\n",
        "models: {{main: {{use: 'os:system'}}}}\n",
        "agents: [{{name: a, description: A, prompt: {{ref: x}}, tools: [{{use: 'os:abort'}}]}}]\n",
    ],
)
def test_nothing_is_run(tmp_path, text):
    ran = tmp_path / "ran"
    path = file(tmp_path, text.format(ran=ran) + ("" if "%TAG" in text else HEAD))
    assert all(fault.startswith(f"{path}:") for fault in refused(path))
    assert not ran.exists()
