"""devassist's routing on its labelled set, with the embedded models.

The bounds are a little below what was measured; docs/routing.md has the figures.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.blueprints import load
from agentkit.blueprints.routing_set import load_routing_set
from agentkit.prompts import PromptManager
from agentkit.services.routing_eval import RoutingReport, evaluate
from agentkit.settings import Settings
from agentkit.wiring import open_kit
from agentkit.wiring.routing import open_routing

ROOT = Path(__file__).parents[2]
DEVASSIST = ROOT / "blueprints" / "devassist"
SETS = DEVASSIST / "routing"


async def measured(tmp_path: Path, models_dir: Path, *, llm: bool, parts: tuple[str, ...]) -> RoutingReport:
    (tmp_path / "models").symlink_to(models_dir)
    async with open_kit(Settings(data_dir=tmp_path)) as kit:
        loaded = kit.blueprint(DEVASSIST)
        names = [agent.name for agent in loaded.spec.agents]
        utterances = [one for part in parts for one in load_routing_set(SETS / f"{part}.yaml", names)]
        # The embedded model, whatever else this machine has; with one thread, as it shares its cores.
        embedded = {"provider": "local", "options": {"threads": 1}}
        models = {"main": loaded.spec.models["main"].model_copy(update=embedded)}
        loaded = replace(loaded, spec=loaded.spec.model_copy(update={"models": models}))
        routing, agents = await open_routing(kit, loaded, llm=llm)
        return await evaluate(routing, agents, utterances)


@pytest.mark.parametrize(
    ("part", "total", "decided"), [("tuning", 108, 0.86), ("calibration", 74, 0.79), ("heldout", 69, 0.80)]
)
async def test_similarity_decides_most_and_rightly(
    tmp_path: Path, models_dir: Path, part: str, total: int, decided: float
) -> None:
    report = await measured(tmp_path, models_dir, llm=False, parts=(part,))
    assert len(report.results) == total
    assert (report.decided.value or 0) >= decided
    assert (report.decided_right.value or 0) >= 0.97, [result.utterance.text for result in report.wrong]


async def test_with_the_embedded_model_nine_of_ten_are_right(tmp_path: Path, models_dir: Path) -> None:
    report = await measured(tmp_path, models_dir, llm=True, parts=("heldout",))
    assert set(report.methods) == {"semantic", "llm"}
    assert (report.accuracy.value or 0) >= 0.9, [result.utterance.text for result in report.wrong]


def test_no_part_has_what_another_has_or_what_is_an_example() -> None:
    spec = load(DEVASSIST, prompts=PromptManager([ROOT / "prompts"])).spec
    names = [agent.name for agent in spec.agents]
    texts = [
        one.text
        for part in ("tuning", "calibration", "heldout")
        for one in load_routing_set(SETS / f"{part}.yaml", names)
    ]
    examples = [text for agent in spec.agents for text in agent.examples] + list(spec.supervisor.examples)
    seen = [text.casefold().strip("?!. ") for text in (*texts, *examples)]
    assert sorted({text for text in seen if seen.count(text) > 1}) == []
