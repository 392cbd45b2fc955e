"""Where prompts and blueprints are looked up: a given folder, the working directory, the package.

The root folders `prompts/` and `blueprints/` of this repository are the single copies. A
wheel carries them as `agentkit/_data/`; an editable install does not, so there the
repository's own folders beside `src/` are meant.
"""

from pathlib import Path
from typing import Literal

Kind = Literal["blueprints", "prompts"]

_PACKAGE = Path(__file__).parent


def packaged(kind: Kind) -> Path:
    """Return the folder that came with the installation."""
    inside = _PACKAGE / "_data" / kind
    return inside if inside.is_dir() else _PACKAGE.parents[1] / kind


def search_path(kind: Kind, explicit: Path | None = None) -> tuple[Path, ...]:
    """Return the folders to look into, most important first."""
    folders = [*([explicit] if explicit else []), Path.cwd() / kind, packaged(kind)]
    return tuple(dict.fromkeys(folders))
