"""What the Preferences page of the plugin holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.settings import get_plugin_settings

from medgs_napari._amounts import GIB

PLUGIN = "medgs-napari"
DEFAULT_SECONDS = 1.5

MEMORY_SHARE = 0.8
"""Part of the machine's memory that may be taken if nothing else is said: the rest is for napari and the system."""


@dataclass(frozen=True)
class Preferences:
    """Choices that docks begin with.

    Attributes
    ----------
    device, preset : as in `FitConfig`
    preview_seconds : least time between two pictures of a running fit
    memory_gib : GiB of memory that a fit, or slices streamed into memory, may take; 0: `MEMORY_SHARE` of the machine's
    """

    device: str = "auto"
    preset: str = "balanced"
    preview_seconds: float = DEFAULT_SECONDS
    memory_gib: float = 0.0

    @property
    def most_bytes(self) -> int:
        """Memory that a fit, or slices streamed into memory, may take."""
        if self.memory_gib > 0:
            return round(self.memory_gib * GIB)
        import psutil  # which comes with napari

        return round(MEMORY_SHARE * psutil.virtual_memory().total)


def preferences() -> Preferences:
    """Return what the user prefers."""
    try:
        chosen: Any = get_plugin_settings(PLUGIN).fit
    except (KeyError, AttributeError):  # the widget is used without its manifest
        return Preferences()
    # missing where napari has read an older manifest
    limit = getattr(chosen, "memory_gib", 0.0)
    return Preferences(str(chosen.device), str(chosen.preset), float(chosen.preview_seconds), float(limit))
