"""The search: vectors and words, filtered and fused, in one SQL statement.

Reciprocal rank fusion after Cormack, Clarke, Büttcher (SIGIR 2009), with k=20: on
documentation, code and conversations it ranked better than the paper's 60.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.rows import DictRow

from agentkit.errors import DatabaseError, EmbeddingError
from agentkit.rag.records import RetrievedChunk, SearchMode
from agentkit.rag.schema import EXACT_ROWS, Connection, RegisteredModel

_RRF_K: Final = 20
_MIN_POOL: Final = 50
_POOL_FACTOR: Final = 4
_LEXEMES_EXACT: Final = 32
_LEXEMES_INDEXED: Final = 8  # ranking by more changes nDCG by less than .005 and costs seven times as much
_MAX_QUERY_CHARACTERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search; `vector` in pgvector's text form, or None for a search by words alone.

    `scopes` None means all of the tenant's.
    """

    query: str
    vector: str | None
    k: int
    tenant: str
    scopes: tuple[str, ...] | None
    mode: SearchMode
    language: str

    def parameters(self) -> dict[str, Any]:
        """The statement's named parameters."""
        return {
            "query": clean(self.query)[:_MAX_QUERY_CHARACTERS],
            "vector": self.vector,
            "k": self.k,
            "pool": max(_MIN_POOL, _POOL_FACTOR * self.k),
            "tenant": self.tenant,
            "scopes": list(self.scopes or ()),
            "language": self.language,
        }


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the database says about a request: how many rows are in reach, and the word query."""

    rows: int
    exact: bool
    words: str | None


def clean(text: str) -> str:
    """Return `text` without what PostgreSQL cannot store: NUL and lone surrogates."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")


async def search(
    connection: Connection, model: RegisteredModel, request: SearchRequest
) -> list[RetrievedChunk]:
    """Run `request` and return at most `k` chunks, best first.

    With vectors, k chunks come back whenever the scopes hold k.

    Raises:
        EmbeddingError: The scopes hold vectors, but only of other models.
        DatabaseError: This pgvector has no iterative index scan.
    """
    async with connection.transaction():
        plan = await _plan(connection, model, request)
        if plan.rows == 0:
            return []
        found = await _run(connection, model, request, plan, exact=plan.exact)
        if len(found) < request.k and request.vector is not None and not plan.exact:
            # the index scan gave up (hnsw.max_scan_tuples) before it met k rows of these scopes
            found = await _run(connection, model, request, plan, exact=True)
        return found


async def _plan(connection: Connection, model: RegisteredModel, request: SearchRequest) -> _Plan:
    parameters = request.parameters() | {
        "sample": EXACT_ROWS + 1,
        "model": model.id,
        "exact_rows": EXACT_ROWS,
        "few": _LEXEMES_INDEXED,
        "many": _LEXEMES_EXACT,
    }
    statement = sql.SQL(_PLAN).format(scope=_scope_filter(request))
    # prepare=False: psycopg would prepare the fifth run and keep a plan from before SET LOCAL
    row = await (await connection.execute(statement, parameters, prepare=False)).fetchone()
    if row is None or row["iterative"] != "relaxed_order":
        raise DatabaseError(
            "This pgvector has no iterative index scan: filtered searches would return too few rows.",
            hint="Install pgvector 0.8 or newer, then run: ALTER EXTENSION vector UPDATE",
        )
    rows = int(row["rows"])
    if rows and request.vector is not None and not row["own"]:
        await _refuse_other_models(connection, request)
    return _Plan(rows=rows, exact=rows <= EXACT_ROWS, words=row["words"])


async def _refuse_other_models(connection: Connection, request: SearchRequest) -> None:
    statement = sql.SQL(_MODELS_PRESENT).format(scope=_scope_filter(request))
    cursor = await connection.execute(statement, request.parameters(), prepare=False)
    names = ", ".join(sorted(str(row["name"]) for row in await cursor.fetchall()))
    raise EmbeddingError(
        f"These scopes hold only vectors of another embedding model: {names}.",
        hint="Search with that model, or ingest the sources again with this one.",
    )


async def _run(
    connection: Connection, model: RegisteredModel, request: SearchRequest, plan: _Plan, *, exact: bool
) -> list[RetrievedChunk]:
    distance = sql.SQL("(embedding::{type} <=> %(vector)s::{type})").format(type=model.vector_type)
    statement = sql.SQL(_SEARCH).format(
        scope=_scope_filter(request),
        model=sql.Literal(model.id),
        distance=distance,
        # an index can serve the bare expression only, so adding nothing forces the exact scan
        ordering=sql.SQL("{} + 0").format(distance) if exact else distance,
        dense=sql.SQL("FALSE" if request.vector is None else "TRUE"),
        lexical=sql.SQL("FALSE" if plan.words is None or request.mode == "dense" else "TRUE"),
        rrf=sql.Literal(_RRF_K),
    )
    parameters = request.parameters() | {"words": plan.words or ""}
    cursor = await connection.execute(statement, parameters, prepare=False)
    return [_chunk(row) for row in await cursor.fetchall()]


def _scope_filter(request: SearchRequest) -> sql.Composable:
    """The condition both halves of the search share."""
    if request.scopes is None:
        return sql.SQL("tenant = %(tenant)s")
    return sql.SQL("tenant = %(tenant)s AND scope = ANY(%(scopes)s)")


def _chunk(row: DictRow) -> RetrievedChunk:
    values: dict[str, Any] = dict(row)
    score, similarity = float(values["score"]), values["similarity"]
    if similarity is not None and math.isnan(similarity):  # a vector of zeros has no direction
        similarity = None
    values |= {"heading": tuple(values["heading"]), "score": score, "similarity": similarity}
    return RetrievedChunk(**values)


# Lexemes are quoted by hand and cast, because to_tsquery chokes on operators in the text.
# ANALYZE keeps how often the commonest lexemes occur; one it does not know is rare.
_PLAN: Final = """
WITH reach AS (
    SELECT model_id FROM agentkit_chunks WHERE {scope} LIMIT %(sample)s
), counted AS (
    SELECT count(*) AS rows FROM reach
), common AS (
    SELECT entry.lexeme, max(entry.frequency) AS frequency
    FROM
        pg_stats,
        unnest(most_common_elems::text::text[], most_common_elem_freqs) AS entry (lexeme, frequency)
    WHERE tablename = 'agentkit_chunks' AND attname = 'tsv' AND schemaname = ANY (current_schemas(false))
        AND entry.lexeme IS NOT NULL
    GROUP BY entry.lexeme
), rarest AS (
    SELECT lexeme
    FROM unnest(to_tsvector(%(language)s::regconfig, %(query)s)) LEFT JOIN common USING (lexeme)
    ORDER BY coalesce(frequency, 0), length(lexeme) DESC, lexeme
    LIMIT (SELECT CASE WHEN rows > %(exact_rows)s THEN %(few)s ELSE %(many)s END FROM counted)
)
SELECT
    set_config('hnsw.iterative_scan', 'relaxed_order', true) AS iterative,
    set_config('hnsw.ef_search', '100', true) AS ef_search,
    (SELECT rows FROM counted) AS rows,
    (SELECT EXISTS (SELECT FROM agentkit_chunks WHERE {scope} AND model_id = %(model)s)) AS own,
    (
        SELECT string_agg('''' || replace(replace(lexeme, '\\', '\\\\'), '''', '''''') || '''', ' | ')
        FROM rarest
    ) AS words
"""

_MODELS_PRESENT: Final = """
SELECT name FROM agentkit_embedding_models AS model
WHERE EXISTS (SELECT FROM agentkit_chunks WHERE model_id = model.id AND {scope})
"""

_SEARCH: Final = """
WITH dense AS (
    SELECT id, row_number() OVER (ORDER BY distance, id) AS place
    FROM (
        SELECT id, {distance} AS distance
        FROM agentkit_chunks
        WHERE {dense} AND model_id = {model} AND {scope}
        ORDER BY {ordering}
        LIMIT %(pool)s
    ) AS near
), lexical AS (
    SELECT id, row_number() OVER (ORDER BY rank DESC, id) AS place
    FROM (
        SELECT id, ts_rank(tsv, %(words)s::tsquery, 1) AS rank
        FROM agentkit_chunks
        WHERE {lexical} AND {scope} AND tsv @@ %(words)s::tsquery
        ORDER BY rank DESC, id
        LIMIT %(pool)s
    ) AS matching
), fused AS (
    SELECT
        id,
        coalesce(1.0 / ({rrf} + dense.place), 0) + coalesce(1.0 / ({rrf} + lexical.place), 0) AS score,
        dense.place
    FROM dense FULL JOIN lexical USING (id)
    ORDER BY score DESC, dense.place, id
    LIMIT %(k)s
)
SELECT
    fused.id AS chunk_id, document_id, source_uri, title, agentkit_chunks.scope, content AS text,
    start_char AS start, end_char AS "end", start_line, end_line, page, heading, chunker, metadata, score,
    CASE WHEN {dense} AND agentkit_chunks.model_id = {model} THEN 1 - {distance} END AS similarity
FROM fused
JOIN agentkit_chunks USING (id)
JOIN agentkit_documents ON agentkit_documents.id = document_id
ORDER BY score DESC, place, chunk_id
"""
