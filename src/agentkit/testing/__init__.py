"""For tests of what is built with agentkit: scripted models and contract suites.

`agentkit.testing.contracts` holds suites to subclass; it needs pytest.
"""

from agentkit.llm.providers.scripted import Script, Step, ToolUse
from agentkit.testing.models import ScriptedModel, scripted_model

__all__ = ["Script", "ScriptedModel", "Step", "ToolUse", "scripted_model"]
