"""Work directories are measured and removed, however they were left."""

import os
import tempfile
from pathlib import Path

from agentkit.tools.sandbox.workdir import is_over, remove, work_directory

MEBIBYTE = 1 << 20


def deep(top: Path, levels: int) -> None:
    """Nest folders further than a path can name."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(top)
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
        Path("leaf").write_bytes(b"x")
    finally:
        os.fchdir(here)
        os.close(here)


def test_what_is_made_is_removed() -> None:
    with work_directory(None) as path:
        assert os.stat(path).st_mode & 0o777 == 0o700
        Path(path, "a").write_text("x")
    assert not os.path.exists(path)


def test_a_tree_of_any_depth_and_mode_is_removed() -> None:
    path = tempfile.mkdtemp()
    deep(Path(path), 3000)
    for name in ("locked", "other"):
        Path(path, name, "inner").mkdir(parents=True)
        Path(path, name, "inner", "file").write_text("x")
        Path(path, name, "link").symlink_to("/")
        Path(path, name, "inner").chmod(0)
        Path(path, name).chmod(0)
    remove(path)
    assert not os.path.exists(path)


def test_links_are_removed_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    path = tempfile.mkdtemp()
    Path(path, "link").symlink_to(kept)
    Path(path, "folder").mkdir()
    Path(path, "folder", "link").symlink_to(kept)
    remove(path)
    assert (kept / "file").read_text() == "x"


def test_bytes_and_names_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"x" * MEBIBYTE)
    path = str(tmp_path)
    assert not is_over(path, size=2 * MEBIBYTE, entries=2)
    assert is_over(path, size=MEBIBYTE // 2, entries=2)
    assert is_over(path, size=2 * MEBIBYTE, entries=1)


def test_holes_are_not_bytes_and_links_are_not_followed(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    assert not is_over(str(tmp_path), size=MEBIBYTE, entries=10)


def test_files_without_a_name_are_counted(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        (tmp_path / "a").unlink()
        file.write(b"x" * MEBIBYTE)
        file.flush()
        assert not is_over(str(tmp_path), size=MEBIBYTE // 2, entries=10)
        assert is_over(str(tmp_path), size=MEBIBYTE // 2, entries=10, pid=os.getpid())


def test_what_is_too_deep_to_measure_is_too_much() -> None:
    path = tempfile.mkdtemp()
    deep(Path(path), 40)
    assert is_over(path, size=MEBIBYTE, entries=1000)
    remove(path)
