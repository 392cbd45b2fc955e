"""Finding and checking blueprints as the settings say; nothing is started for it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.llm.providers import PROVIDERS
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.settings import Settings
from agentkit.tools import TOOLS

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint


def check_blueprint(
    name_or_path: str | Path, settings: Settings, prompts: PromptManager | None = None
) -> "LoadedBlueprint":
    """Find, read and check a blueprint; starts nothing and imports no tool.

    Args:
        name_or_path: Name of a blueprint, or path of its folder or file.
        settings: Say where blueprints and prompts are looked up.
        prompts: A manager to share, instead of a new one.

    Raises:
        UnknownNameError: There is no such blueprint.
        BlueprintError: It is faulty; all faults are listed.
    """
    from agentkit import blueprints

    return blueprints.load(
        blueprints.find_blueprint(name_or_path, search_path("blueprints", settings.blueprints_dir)),
        prompts=prompts or PromptManager(search_path("prompts", settings.prompts_dir)),
        providers=PROVIDERS.names(),
        tools=TOOLS.names(),
        env=os.environ,
    )


def project_root(loaded: "LoadedBlueprint") -> Path:
    """The folder that documents of a blueprint are named from: the one that holds `blueprints/`."""
    root = loaded.root
    if root.name == "blueprints":
        base = root.parent
    else:
        base = root.parent.parent if root.parent.name == "blueprints" else root.parent
    return Path(os.path.commonpath([base, *(source.path for source in loaded.sources)]))
