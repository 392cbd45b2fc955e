from collections.abc import AsyncIterator

import pytest

from agentkit.database import migrate
from agentkit.database.pool import Pool, open_pool
from agentkit.llm import MIGRATIONS


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Connections to a database with the cache's table."""
    await migrate.apply(database_url, [MIGRATIONS])
    async with open_pool(database_url, size=4) as opened:
        yield opened
