"""Prompts: YAML files with versions and declared variables, no prompt text in Python."""

from agentkit.prompts.manager import PromptManager, PromptSummary
from agentkit.prompts.models import Prompt

__all__ = ["Prompt", "PromptManager", "PromptSummary"]
