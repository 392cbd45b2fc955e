"""Whoever owns the sandboxed process owns what it sends: any bytes at all must be harmless."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.sandbox.base import Limits, is_file_name
from agentkit.tools.sandbox.supervisor import _files, _frames, clean

LIMITS = Limits(files=3, file_bytes=100)


def frame(kind: bytes, name: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">HI", len(name), len(data)) + name + data


forged = st.builds(
    frame,
    st.sampled_from([b"F", b"L", b"E", b"S", b"X", b"?"]),
    st.one_of(st.binary(max_size=300), st.sampled_from([b"a", b"../a", b"/a", b"..", b"", b"a/b", b"a\0"])),
    st.binary(max_size=80),
)


@given(st.binary(max_size=500))
def test_any_bytes_are_split_without_a_fault(data: bytes) -> None:
    assert sum(7 + len(name) + len(content) for _, name, content in _frames(data)) <= len(data)


@given(st.lists(forged, max_size=20), st.binary(max_size=20))
def test_forged_frames_stay_within_the_limits(frames: list[bytes], tail: bytes) -> None:
    files, left_out = _files(list(_frames(b"".join(frames) + tail)), LIMITS)
    assert len(files) <= LIMITS.files
    assert sum(map(len, files.values())) <= LIMITS.file_bytes
    assert all(is_file_name(name) for name in files)
    assert all(name == clean(name.encode()) and "\n" not in name for name in left_out)


@given(st.binary(max_size=300))
def test_cleaned_text_shows_all_it_has(data: bytes) -> None:
    text = clean(data)
    assert all(character.isprintable() or character in "\n\t " or character.isspace() for character in text)
    assert clean(text.encode()) == text


def test_the_first_of_two_files_of_a_name_counts() -> None:
    files, _ = _files(list(_frames(frame(b"F", b"a", b"1") + frame(b"F", b"a", b"2"))), LIMITS)
    assert files == {"a": b"1"}


def test_a_frame_that_is_cut_is_no_frame() -> None:
    whole = frame(b"F", b"name", b"data")
    for cut in range(len(whole)):
        assert list(_frames(whole[:cut])) == []
    assert list(_frames(whole)) == [(b"F", b"name", b"data")]
