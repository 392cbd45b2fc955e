"""Forgetting kept answers from the command line."""

import psycopg

from .conftest import Project

FILL = "INSERT INTO agentkit_llm_cache VALUES ('k', '[]', now() + interval '1 day')"


def test_kept_answers_are_forgotten(project: Project) -> None:
    project.run("db", "migrate")
    with psycopg.connect(project.env["AGENTKIT_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(FILL)
        done = project.run("models", "clear-cache")
        assert (done.returncode, done.stdout) == (0, "No answer is kept any more.\n")
        assert connection.execute("SELECT count(*) FROM agentkit_llm_cache").fetchone() == (0,)


def test_redis_without_an_address_says_what_to_set(project: Project) -> None:
    done = project.run("models", "clear-cache", AGENTKIT_CACHE__STORE="redis")
    assert done.returncode == 1
    assert "Set AGENTKIT_REDIS_URL" in done.stderr


def test_redis_that_is_away_is_a_message_and_no_traceback(project: Project) -> None:
    done = project.run("models", "clear-cache", AGENTKIT_REDIS_URL="redis://:s3cret@127.0.0.1:1/0")
    assert done.returncode == 1
    assert "error: The cache cannot be cleared: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
