"""The key `knowledge`: how agents retrieve, and from which files."""

from typing import Annotated, Literal

from pydantic import Field

from agentkit.blueprints.fields import Float, Int, PromptRef, Section, Slug, Text


class SourceSpec(Section):
    """Files that feed one knowledge scope."""

    path: Text = Field(description="File or folder; relative to the folder of this file.")
    scope: Slug = Field(description="Scope its text is searched under.")


class KnowledgeSpec(Section):
    """How agents retrieve, and from which files."""

    mode: Literal["hybrid", "dense", "lexical"] = Field(
        default="hybrid", description="By meaning and words, by meaning, or by words."
    )
    k: Annotated[Int, Field(ge=1, le=50)] = Field(default=4, description="Most chunks per question.")
    max_tokens: Annotated[Int, Field(ge=50, le=100_000)] = Field(
        default=900, description="Most tokens of all chunks together; the best are kept."
    )
    min_similarity: Annotated[Float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="Chunks less similar (cosine) are left out; all are kept if absent."
    )
    prompt: PromptRef = Field(
        default=PromptRef(ref="retrieval"), description="Prompt that presents the chunks; gets {{sources}}."
    )
    sources: tuple[SourceSpec, ...] = Field(default=(), description="Files brought up to date before use.")
