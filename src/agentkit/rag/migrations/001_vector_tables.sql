-- Documents, their chunks, and the models the chunks' vectors belong to.

CREATE EXTENSION IF NOT EXISTS vector;

-- One row per kind of vector. Two rows never mix in one search: a vector means something
-- only beside vectors of the same model, dimension and prefixes.
CREATE TABLE agentkit_embedding_models (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL,
    dimension       integer NOT NULL CHECK (dimension BETWEEN 1 AND 4000),
    document_prefix text NOT NULL,
    query_prefix    text NOT NULL,
    distance        text NOT NULL DEFAULT 'cosine' CHECK (distance = 'cosine'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, dimension, document_prefix, query_prefix)
);

-- There is no status: a document and its chunks appear, change and go in one transaction.
CREATE TABLE agentkit_documents (
    id         uuid PRIMARY KEY,
    tenant     text NOT NULL,
    scope      text NOT NULL,
    source_uri text NOT NULL,
    sha256     text NOT NULL,
    title      text NOT NULL,
    mime       text NOT NULL,
    chunker    text NOT NULL,
    model_id   integer NOT NULL REFERENCES agentkit_embedding_models,
    metadata   jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, scope, source_uri)
);

-- tenant and scope repeat the document's, so that a search needs no join to filter by them.
-- tsv is written by the store, not generated: a generated column would fix the language,
-- and a column of type regconfig would stand in the way of pg_upgrade.
-- embedding has no dimension because models differ; see the index below.
CREATE TABLE agentkit_chunks (
    id          uuid PRIMARY KEY,
    document_id uuid NOT NULL REFERENCES agentkit_documents ON DELETE CASCADE,
    tenant      text NOT NULL,
    scope       text NOT NULL,
    model_id    integer NOT NULL REFERENCES agentkit_embedding_models,
    ordinal     integer NOT NULL,
    start_char  integer NOT NULL,
    end_char    integer NOT NULL,
    start_line  integer NOT NULL,
    end_line    integer NOT NULL,
    page        integer,
    heading     text[] NOT NULL,
    sha256      text NOT NULL,
    content     text NOT NULL,
    tsv         tsvector NOT NULL,
    embedding   halfvec NOT NULL
);

-- Kept in the row where possible: the planner does not count the cost of fetching
-- out-of-line vectors and then prefers a sequential scan (pgvector issue 784).
ALTER TABLE agentkit_chunks ALTER COLUMN embedding SET STORAGE MAIN;

CREATE INDEX agentkit_chunks_document ON agentkit_chunks (document_id);
CREATE INDEX agentkit_chunks_scope ON agentkit_chunks (tenant, scope, model_id);
CREATE INDEX agentkit_chunks_content ON agentkit_chunks (tenant, sha256);
CREATE INDEX agentkit_chunks_words ON agentkit_chunks USING gin (tsv);

-- HNSW needs a dimension, so there is one partial index per model, for example
--   CREATE INDEX agentkit_chunks_hnsw_1 ON agentkit_chunks
--   USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops) WHERE model_id = 1
-- The store builds it once a model has more rows than an exact scan reads in no time:
-- before that it would not be used, and filling a live HNSW graph is 50 times slower
-- than building it from the finished rows.
