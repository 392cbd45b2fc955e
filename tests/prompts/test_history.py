"""What was published stays: within a process by what was read, across processes by the lock."""

import logging
import os
import threading
from pathlib import Path

import pytest

from agentkit.errors import ConfigurationError, PromptError
from agentkit.prompts import PromptManager

ROOT = Path(__file__).parents[2]
ONE = "name: Greeting\nversions:\n  1:\n    template: Hello!\n"
TWO = ONE + "  2:\n    template: Good day!\n"


def write(folder: Path, text: str, ref: str = "greeting") -> Path:
    """Write with a modification time that differs, however coarse the file system's clock is."""
    path = folder / f"{ref}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if before:
        os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))
    return path


def said(prompts: PromptManager) -> list[str]:
    return [str(problem).splitlines()[0] for problem in prompts.check()]


@pytest.fixture
def prompts(tmp_path):
    write(tmp_path, ONE)
    made = PromptManager(tmp_path)
    assert made.get("greeting") == "Hello!"
    return made


def test_another_text_under_an_old_number_is_refused(prompts, tmp_path, caplog):
    path = write(tmp_path, TWO.replace("Hello!", "Hi!"))
    with caplog.at_level(logging.WARNING):
        assert prompts.get("greeting") == "Hello!"
        assert prompts.get("greeting") == "Hello!"
    fault = (
        f"{path}:4:15: Version 1 is in use with another text: "
        "put that back and add the new one as version 3, or restart."
    )
    assert said(prompts) == [fault]
    assert [record.message.splitlines()[0] for record in caplog.records] == [
        f"prompt 'greeting': what was last good stays in use: {fault}"
    ]
    write(tmp_path, TWO)
    assert prompts.get("greeting") == "Good day!"
    assert said(prompts) == []


def test_a_version_that_is_gone_is_refused(prompts, tmp_path):
    write(tmp_path, TWO)
    assert prompts.get("greeting") == "Good day!"
    write(tmp_path, ONE)
    assert prompts.get("greeting") == "Good day!"
    assert "Version 2 is in use but gone from the file: put it back, or restart." in said(prompts)[0]
    assert PromptManager(tmp_path).get("greeting") == "Hello!"


def test_what_is_not_the_text_may_change(prompts, tmp_path):
    write(tmp_path, ONE.replace("Greeting", "Salutation") + "    notes: Short.\n    created: 2026-11-24\n")
    template = prompts.template("greeting")
    assert (template.name, template.version().notes) == ("Salutation", "Short.")
    assert str(template.version(1).created_at) == "2026-11-24"


def test_a_deleted_file_stays_in_use_until_it_is_back(prompts, tmp_path, caplog):
    text = (tmp_path / "greeting.yaml").read_text()
    (tmp_path / "greeting.yaml").unlink()
    with caplog.at_level(logging.WARNING):
        assert prompts.get("greeting") == "Hello!"
        assert [prompt.ref for prompt in prompts.list_prompts()] == ["greeting"]
    assert len(caplog.records) == 1
    assert said(prompts) == [f"{tmp_path}/greeting.yaml: The file is gone; what was last good stays in use."]
    write(tmp_path, text.replace("Hello", "Salve"))
    assert prompts.get("greeting") == "Hello!"
    write(tmp_path, text + "  2: {template: Salve!}\n")
    assert prompts.get("greeting") == "Salve!"


def test_the_next_folder_takes_over_from_a_deleted_file(tmp_path):
    over, under = tmp_path / "over", tmp_path / "under"
    write(over, ONE.replace("Hello", "Over"))
    write(under, ONE.replace("Hello", "Under"))
    prompts = PromptManager([over, under])
    assert prompts.get("greeting") == "Over!"
    (over / "greeting.yaml").unlink()
    assert prompts.get("greeting") == "Under!"
    write(over, "name: [")
    assert prompts.get("greeting") == "Under!"
    write(over, ONE.replace("Hello", "Other"))
    assert prompts.get("greeting") == "Under!"  # it was Over! when this process first read it
    write(over, ONE.replace("Hello", "Over"))
    assert prompts.get("greeting") == "Over!"


def test_a_lock_holds_for_every_process(tmp_path):
    path = write(tmp_path, TWO, "agents/host")
    assert PromptManager(tmp_path).unlocked() == ("agents/host@1", "agents/host@2")
    assert PromptManager(tmp_path).lock() == ("agents/host@1", "agents/host@2")
    assert PromptManager(tmp_path).lock() == ()
    lock = (tmp_path / "prompts.lock").read_text()
    assert [line[:20] for line in lock.splitlines()[2:]] == ["agents/host@1 sha256", "agents/host@2 sha256"]
    write(tmp_path, TWO.replace("Hello!", "Hi!"), "agents/host")
    with pytest.raises(PromptError) as caught:
        PromptManager(tmp_path).get("agents/host")
    assert str(caught.value) == (
        "The prompt 'agents/host' is faulty.\n"
        f"{path}:4:15: Version 1 is published (prompts.lock) with another text: "
        "put that back and add the new one as version 3.\n"
        "        template: Hi!\n"
        "                  ^"
    )
    with pytest.raises(PromptError, match="Nothing was locked"):
        PromptManager(tmp_path).lock()
    write(tmp_path, ONE, "agents/host")
    assert (
        "Version 2 is published (prompts.lock) but gone from the file: put it back."
        in said(PromptManager(tmp_path))[0]
    )
    path.unlink()
    assert said(PromptManager(tmp_path)) == [
        (
            f"{tmp_path}/prompts.lock:3:1: The prompt 'agents/host' is published, "
            "but its file is gone: put it back."
        )
    ]
    write(tmp_path, TWO + "  3: {template: Salve!}\n", "agents/host")
    prompts = PromptManager(tmp_path)
    assert (prompts.get("agents/host"), prompts.unlocked()) == ("Salve!", ("agents/host@3",))
    assert prompts.lock() == ("agents/host@3",)
    assert (tmp_path / "prompts.lock").read_text().startswith(lock)


def test_windows_line_ends_are_the_same_text(tmp_path):
    path = write(tmp_path, "name: G\nversions:\n  1:\n    template: |\n      Hello\n      you!\n")
    PromptManager(tmp_path).lock()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert said(PromptManager(tmp_path)) == []


def test_a_lock_merged_wrongly_is_told_by_line(tmp_path):
    write(tmp_path, ONE)
    PromptManager(tmp_path).lock()
    lock = tmp_path / "prompts.lock"
    lock.write_text(lock.read_text() + "<<<<<<< HEAD\n" + f"greeting@1 sha256:{'0' * 64}\n")
    prompts = PromptManager(tmp_path)
    assert prompts.get("greeting") == "Hello!"  # what could be read of the lock still holds
    assert said(prompts) == [
        f"{lock}:4:1: This is no line of a lock: REF@VERSION sha256:HASH. After a merge, keep both sides.",
        f"{lock}:5:1: greeting@1 is here twice with different texts: one of them needs another number.",
    ]
    lock.write_bytes(b"\xff")
    assert "The lock cannot be read" in said(PromptManager(tmp_path))[0]


def test_a_folder_to_lock_must_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no folder"):
        PromptManager(tmp_path / "absent").lock()


def test_our_own_prompts_are_all_published_and_unchanged():
    prompts = PromptManager(ROOT / "prompts")
    assert prompts.check() == ()
    assert prompts.unlocked() == (), "run: agentkit prompts lock"


def test_many_threads_read_while_the_file_changes(tmp_path):
    write(tmp_path, ONE)
    prompts = PromptManager(tmp_path)
    texts, errors, done = set[str](), list[Exception](), threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                texts.add(prompts.get("greeting"))
                prompts.check()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test fails with it
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    versions = ONE
    for number in range(2, 30):
        versions += f"  {number}:\n    template: Text {number}.\n"
        new = tmp_path / "new"
        new.write_text(versions)
        new.replace(tmp_path / "greeting.yaml")
        assert prompts.get("greeting") == f"Text {number}."
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert texts <= {"Hello!", *(f"Text {number}." for number in range(2, 30))}
