-- Blueprints that threads were run with, so that one paused for a person's decision can go on in
-- the graph it was paused in, also after the files have changed and in another process.
-- digest is SHA-256, hexadecimal; snapshot is JSON written by agentkit.blueprints.snapshot, without
-- the values of secrets, as text: jsonb refuses the NUL characters a YAML text may hold.
CREATE TABLE agentkit_blueprints (
    digest     text PRIMARY KEY,
    name       text NOT NULL,
    snapshot   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz NOT NULL DEFAULT now()
);
