"""Prompts: YAML files with versions and declared variables, no prompt text in Python."""

from agentkit.prompts.manager import PromptManager
from agentkit.prompts.models import PromptTemplate, PromptText, PromptVersion, labels

__all__ = ["PromptManager", "PromptTemplate", "PromptText", "PromptVersion", "labels"]
