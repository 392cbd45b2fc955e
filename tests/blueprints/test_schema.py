import pytest
from pydantic import ValidationError

from agentkit.blueprints.fields import parse_duration
from agentkit.blueprints.models import ModelSpec
from agentkit.blueprints.schema import Blueprint
from agentkit.errors import UnknownNameError


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("1.5m", 90.0), ("2h", 7200.0)])
def test_duration(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["30", 30, "0s", "-1s", "1 s", "s", "1d", "", None, True, "1e3s", "٣s"])
def test_not_a_duration(value):
    with pytest.raises(ValueError, match=r"500ms, 30s, 2m or 1h"):
        parse_duration(value)


def test_models_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        ModelSpec().provider = "x"


def test_unknown_agent_lists_the_agents():
    agents = [{"name": name, "description": "x", "prompt": {"ref": "p"}} for name in ("one", "two")]
    blueprint = Blueprint.model_validate(
        {"apiVersion": "agentkit/v1", "kind": "Blueprint", "name": "x", "agents": agents}
    )
    assert blueprint.agent("two").name == "two"
    with pytest.raises(UnknownNameError, match=r"Unknown agent 'three'.* Valid: one, two"):
        blueprint.agent("three")
