import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ConfigurationError, UnknownNameError
from agentkit.rag.chunking import Chunk, TextChunker

WORDS = st.sampled_from(["word", "Ärger", "a", "日本語。", "x" * 90, "🙂", "end.", "| a | b |", "|---|---|"])
LINES = st.one_of(
    st.lists(WORDS, max_size=30).map(" ".join),
    st.sampled_from(
        ["# One", "## Two", "### Three #", "```python", "```", "~~~", "---", "===", "", "\t", "\x0c"]
    ),
    st.text(max_size=40),
)
TEXTS = st.builds(
    lambda lines, end: end.join(lines), st.lists(LINES, max_size=40), st.sampled_from(["\n", "\r\n"])
)
SIZES = st.integers(16, 300)


def words(text: str) -> int:
    return len(text.split())


def check(text: str, chunks: list[Chunk], size: int, length=len) -> None:
    covered = set()
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip() == chunk.text != ""
        assert length(chunk.text) <= size
        assert chunk.start_line == text.count("\n", 0, chunk.start) + 1
        assert chunk.end_line == text.count("\n", 0, chunk.end - 1) + 1
        covered.update(range(chunk.start, chunk.end))
    assert all(place in covered for place, character in enumerate(text) if not character.isspace())
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})


@settings(max_examples=150, deadline=None)
@given(TEXTS, SIZES, st.floats(0, 0.49))
@pytest.mark.parametrize("kind", ["text", "markdown"])
def test_chunks_are_exact_spans_that_cover_everything(
    kind: str, text: str, size: int, overlap: float
) -> None:
    chunker = TextChunker(size=size, overlap=int(size * overlap)).named(kind)
    check(text, chunker.chunk(text), size)


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.integers(16, 60), st.integers(0, 7))
@pytest.mark.parametrize("kind", ["text", "markdown"])
def test_size_can_be_counted_in_words(kind: str, text: str, size: int, overlap: int) -> None:
    chunker = TextChunker(size=size, overlap=overlap, length=words).named(kind)
    check(text, chunker.chunk(text), size, words)


def test_size_can_be_counted_in_bytes() -> None:
    text = "日本語のテキスト。" * 40
    check(
        text,
        TextChunker(size=50, overlap=9, length=lambda t: len(t.encode())).chunk_text(text),
        50,
        lambda t: len(t.encode()),
    )


def test_tokens_of_the_local_model_keep_the_limit(local_embeddings) -> None:
    text = "Readiness probes decide whether a pod receives traffic; liveness probes restart it.\n" * 60
    chunks = TextChunker(size=64, overlap=8, length=local_embeddings.count_tokens).chunk_text(text)
    check(text, chunks, 64, local_embeddings.count_tokens)
    assert len(chunks) > 10


def test_paragraphs_are_kept_together() -> None:
    first, second = "alpha " * 20, "beta " * 20
    chunks = TextChunker(size=160, overlap=40).chunk_text(f"{first}\n\n{second}")
    assert [chunk.text for chunk in chunks] == [first.strip(), second.strip()]


def test_a_passage_cut_in_two_overlaps_at_a_word() -> None:
    text = " ".join(f"word{number}" for number in range(60))
    first, second, *_ = TextChunker(size=120, overlap=30).chunk_text(text)
    assert first.start < second.start < first.end
    assert text[second.start - 1] == " "


MARKDOWN = """---
title: x
---
# Guide

Intro with a [link](x).

## Install

```bash
# not a heading
pip install it
```

Setext
------

| a | b |
|---|---|
| 1 | 2 |

### Deep

Text.
"""


def test_markdown_chunks_carry_their_headings() -> None:
    chunks = TextChunker(size=400).chunk_markdown(MARKDOWN)
    assert [chunk.heading for chunk in chunks] == [
        (),
        ("Guide",),
        ("Guide", "Install"),
        ("Guide", "Setext"),
        ("Guide", "Setext", "Deep"),
    ]
    assert "# not a heading\npip install it" in chunks[2].text
    assert chunks[2].text.startswith("## Install")
    assert (chunks[1].start_line, chunks[1].end_line) == (4, 6)


@pytest.mark.parametrize(
    "block", ["```\n" + "code line\n" * 12 + "```", "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 12]
)
def test_fences_and_tables_that_fit_stay_whole(block: str) -> None:
    text = f"# T\n\n{'Prose sentence here. ' * 8}\n\n{block}\n\n{'More prose again. ' * 8}\n"
    chunks = TextChunker(size=200).chunk_markdown(text)
    assert any(block.strip() in chunk.text for chunk in chunks)


def test_a_heading_is_never_alone() -> None:
    text = "# Title\n\n## Sub\n\n" + "A sentence of prose. " * 30
    chunks = TextChunker(size=120, overlap=0).chunk_markdown(text)
    assert chunks[0].text.startswith("# Title\n\n## Sub\n\nA sentence")


def test_nothing_but_white_space_has_no_chunks() -> None:
    assert TextChunker().chunk_text(" \n\t\n") == TextChunker().chunk_markdown("\n\n") == []


def test_wrong_sizes_are_refused_with_the_valid_range() -> None:
    with pytest.raises(ConfigurationError, match="At least 16"):
        TextChunker(size=4)
    with pytest.raises(ConfigurationError, match="Choose 0 to 49"):
        TextChunker(size=100, overlap=50)
    with pytest.raises(ConfigurationError, match="one character larger than the chunk size 16"):
        TextChunker(size=16, overlap=0, length=lambda text: 17 * len(text)).chunk_text("abc")


def test_an_unknown_chunker_lists_the_valid_ones() -> None:
    with pytest.raises(
        UnknownNameError, match=r"'markdwon'. Did you mean 'markdown'\? Valid: markdown, text"
    ):
        TextChunker().named("markdwon")


def test_the_signature_tells_what_changes_the_result() -> None:
    signatures = {
        TextChunker().named("text").signature,
        TextChunker().named("markdown").signature,
        TextChunker(size=500).named("text").signature,
        TextChunker(overlap=0).named("text").signature,
        TextChunker(length=words).named("text").signature,
    }
    assert len(signatures) == 5
