import codecs
from pathlib import Path

import pytest

from agentkit.errors import DocumentError
from agentkit.rag.loaders import load, read_bytes
from agentkit.rag.loaders.files import find_files


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("Größe".encode(), "utf-8"),
        (codecs.BOM_UTF8 + "Größe".encode(), "utf-8"),
        (codecs.BOM_UTF16_LE + "Größe".encode("utf-16-le"), "utf-16-le"),
        (codecs.BOM_UTF32_BE + "Größe".encode("utf-32-be"), "utf-32-be"),
        ("Größe".encode("latin-1"), "latin-1"),
    ],
)
def test_text_is_decoded_without_its_mark(content: bytes, encoding: str) -> None:
    loaded = load("notes/a.txt", content)
    assert (loaded.text, loaded.encoding, loaded.mime, loaded.title) == (
        "Größe",
        encoding,
        "text/plain",
        "a.txt",
    )
    assert bool(loaded.note) == (encoding == "latin-1")


def test_markdown_has_the_first_heading_as_title() -> None:
    loaded = load("a.MD", b"intro\r\n\r\n# The title #\r\n## Other\r\n")
    assert (loaded.title, loaded.mime) == ("The title", "text/markdown")
    assert loaded.text == "intro\r\n\r\n# The title #\r\n## Other\r\n"


@pytest.mark.parametrize(
    "content", [b"a\x00b", codecs.BOM_UTF8 + b"a\x00b", codecs.BOM_UTF8 + b"\xff\xfe\xfa"]
)
def test_what_is_not_text_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentError, match=r"x.txt: (is binary|contains NUL|is marked as utf-8 but is not)"):
        load("x.txt", content)


def test_reading_reports_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="docs/x: cannot be read: No such file"):
        read_bytes(tmp_path / "x", "docs/x")
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", "x", 5) == b"12345"
    with pytest.raises(DocumentError, match="x: is larger than 4 bytes"):
        read_bytes(tmp_path / "x", "x", 4)


def test_folders_are_walked_in_one_order_without_what_does_not_belong(tmp_path: Path) -> None:
    for name in (
        "b/z.md",
        "b/a.md",
        "a.md",
        ".git/config",
        "b/.env",
        "__pycache__/x.py",
        "node_modules/y.js",
    ):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text("x")
    outside = tmp_path / "outside.md"
    outside.write_text("secret")
    (tmp_path / "top" / "link.md").symlink_to(outside)
    (tmp_path / "top" / "inner.md").symlink_to(tmp_path / "top" / "a.md")
    (tmp_path / "top" / "loop").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "broken.md").symlink_to(tmp_path / "none")
    found = find_files([tmp_path / "top", tmp_path / "top" / "a.md"])
    assert [file.uri for file in found.files] == ["a.md", "inner.md", "b/a.md", "b/z.md"]
    assert (found.skipped, found.errors, found.folders) == ([], [], [""])
    named = find_files([tmp_path / "top"], root=tmp_path)
    assert named.files[0].uri == "top/a.md"
    assert named.folders == ["top/"]


def test_a_root_must_be_above(tmp_path: Path) -> None:
    (error,) = find_files([tmp_path], root=tmp_path / "below").errors
    assert "is not beneath the root" in str(error)
