"""The tests devassist carries in its YAML, run as `agentkit blueprint test devassist` runs them."""

from pathlib import Path

from agentkit.services.blueprint_tests import run_tests
from agentkit.settings import Settings
from agentkit.wiring import open_kit

ROOT = Path(__file__).parents[2]


async def test_devassist_passes_its_own_tests(tmp_path: Path, database_url: str, models_dir: Path) -> None:
    (tmp_path / "models").symlink_to(models_dir)
    async with open_kit(Settings(database_url=database_url, data_dir=tmp_path)) as kit:
        loaded = kit.blueprint(ROOT / "blueprints" / "devassist")
        await kit.refresh(loaded)
        results = await run_tests(
            loaded.spec.tests,
            lambda scripts, retrieve: kit.test_graph(loaded, scripts, retrieve=retrieve),
            lambda _: None,
        )
    assert {result.name: result.mismatches for result in results if not result.passed} == {}
    routed = {name for result in results for name in result.outcome.agents or ["supervisor"]}
    assert routed == {"kubernetes", "python", "systemarchitect", "supervisor"}
    assert len(results) >= 10
