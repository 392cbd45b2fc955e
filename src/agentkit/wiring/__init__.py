"""Where settings become objects; the only place that knows them all."""

from agentkit.wiring.blueprints import check_blueprint
from agentkit.wiring.kit import MIGRATION_FOLDERS, Kit, open_kit
from agentkit.wiring.scripts import load_blueprint

__all__ = ["MIGRATION_FOLDERS", "Kit", "check_blueprint", "load_blueprint", "open_kit"]
