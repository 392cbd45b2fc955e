"""Model weights: which ones agentkit knows, and where they are kept on this machine."""

from agentkit.weights.catalogue import Catalogue, CatalogueEntry, load_catalogue
from agentkit.weights.store import Progress, Weights, WeightsStatus, WeightsStore

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "Progress",
    "Weights",
    "WeightsStatus",
    "WeightsStore",
    "load_catalogue",
]
