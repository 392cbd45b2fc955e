-- Answers of models that have a `cache`, for as long as they may be given again.
-- key is the SHA-256 of the whole request; answer is JSON written by agentkit.llm.cache.stored,
-- as text: jsonb refuses the NUL characters a model may write.
CREATE TABLE agentkit_llm_cache (
    key        text PRIMARY KEY,
    answer     text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX agentkit_llm_cache_expires ON agentkit_llm_cache (expires_at);
