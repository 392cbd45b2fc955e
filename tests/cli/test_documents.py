import json
from uuid import uuid4

from .conftest import Project


def ingest(project: Project, *arguments: str) -> dict[str, str]:
    done = project.run("ingest", "notes", "--scope", "notes", "--json", *arguments)
    return {file["source"]: file["outcome"] for file in json.loads(done.stdout)}


def test_only_what_changed_is_read_again(project: Project) -> None:
    other = project.root / "notes" / "other.md"
    other.write_text("Other.\n")
    assert ingest(project) == {"notes/generators.md": "added", "notes/other.md": "added"}
    other.write_text("Something else.\n")
    assert ingest(project) == {"notes/generators.md": "unchanged", "notes/other.md": "updated"}
    other.unlink()
    assert ingest(project) == {"notes/generators.md": "unchanged"}
    assert ingest(project, "--sync")["notes/other.md"] == "removed"


def test_a_file_that_cannot_be_read_is_reported_and_the_rest_goes_on(project: Project) -> None:
    (project.root / "broken.md").write_bytes(b"\x00\x01\x02")
    done = project.run("ingest", "notes", "broken.md", "--scope", "notes")
    assert done.returncode == 1
    assert "added     notes/generators.md  1 chunks" in done.stdout
    assert "failed    broken.md: " in done.stderr
    assert "1 added, 1 failed; 1 chunks embedded." in done.stdout


def test_wrong_use_of_ingest_says_what_is_missing(project: Project) -> None:
    for arguments, text in [
        ((), "give either PATHs with --scope, or --blueprint."),
        (("notes",), "--scope says which knowledge scope"),
        (("nowhere.md", "--scope", "x"), "no such file or folder: nowhere.md"),
    ]:
        done = project.run("ingest", *arguments)
        assert done.returncode == 2
        assert text in " ".join(done.stderr.replace("│", " ").split())


def test_documents_are_listed_shown_searched_and_deleted(project: Project) -> None:
    assert "No documents." in project.run("documents", "list").stdout
    ingest(project)
    (document,) = json.loads(project.run("documents", "list", "--json").stdout)
    assert (document["scope"], document["source_uri"], document["chunks"]) == (
        "notes",
        "notes/generators.md",
        1,
    )
    assert "notes/generators.md" in project.run("documents", "list", "--scope", "notes").stdout
    assert document["sha256"] in project.run("documents", "show", document["id"]).stdout
    (chunk,) = json.loads(project.run("documents", "search", "yield", "--json").stdout)
    assert chunk["text"].endswith("A generator function contains a yield expression.")
    assert "notes/generators.md:1-3  (notes)" in project.run("documents", "search", "yield").stdout
    assert project.run("documents", "delete", document["id"]).stdout == "1 of 1 deleted.\n"
    assert "Nothing found." in project.run("documents", "search", "yield").stdout


def test_unknown_scopes_and_documents_are_named(project: Project) -> None:
    ingest(project)
    for command in (("search", "x"), ("list",)):
        done = project.run("documents", *command, "--scope", "noets")
        assert done.returncode == 2
        assert "Unknown scope 'noets'. Did you mean 'notes'?" in done.stderr
    missing = str(uuid4())
    assert f"There is no document {missing}." in project.run("documents", "show", missing).stderr
    done = project.run("documents", "delete", missing)
    assert (done.returncode, done.stdout) == (1, "0 of 1 deleted.\n")
    assert project.run("documents", "show", "not-a-uuid").returncode == 2
