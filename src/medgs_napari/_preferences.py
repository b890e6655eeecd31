"""What the Preferences page of the plugin holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "medgs-napari"
DEFAULT_SECONDS = 1.5


@dataclass(frozen=True)
class Preferences:
    """Choices that docks begin with.

    Attributes
    ----------
    device, preset : as in `FitConfig`
    preview_seconds : least time between two pictures of a running fit
    """

    device: str = "auto"
    preset: str = "balanced"
    preview_seconds: float = DEFAULT_SECONDS


def preferences() -> Preferences:
    """Return what the user prefers."""
    try:
        chosen: Any = get_plugin_settings(PLUGIN).fit
    except (KeyError, AttributeError):  # the widget is used without its manifest
        return Preferences()
    return Preferences(str(chosen.device), str(chosen.preset), float(chosen.preview_seconds))
