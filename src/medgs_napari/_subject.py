"""What of a model is rendered: its images, how far they may be off, or its labels; at which slices, and how.

A model and settings come in; virtual layers go out, and the words by which layers of the same are found again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from medgs_napari._arrays import Part, parts_of
from medgs_napari._recipes import RenderRecipe, changed_settings
from medgs_napari._rendered import Drawn, describe_result
from medgs_napari._session import Fitted
from medgs_napari._virtual import virtual_bounds, virtual_labels, virtual_layers

if TYPE_CHECKING:
    import medgs_core as medgs

What = Literal["interpolated", "uncertainty", "labels interpolated"]
"""The words with which the names of layers end."""

MAKERS = {"interpolated": virtual_layers, "uncertainty": virtual_bounds, "labels interpolated": virtual_labels}

FILE_WORDS = {"interpolated": "", "uncertainty": " uncertainty", "labels interpolated": " labels"}


@dataclass(frozen=True, eq=False)
class Subject:
    """Something that a model can show.

    Attributes
    ----------
    fitted : the model
    what : of it
    config : which slices, and how
    """

    fitted: Fitted
    what: What
    config: medgs.RenderConfig

    @property
    def owner(self) -> Any:
        """Whose its layers are: labels that were painted anew are others, whatever their model."""
        head = self.fitted.model.labels
        return self.fitted if head is None or not self.config.labels else head.annotation

    @property
    def parts(self) -> list[Part]:
        """What each of its layers shows."""
        if self.config.labels:
            return [Part()]
        colors = [frame.rgb and self.what == "interpolated" for frame in self.fitted.frames]
        return parts_of(self.fitted.model.volume, colors)

    @property
    def images(self) -> int:
        """How many volumes it is in files."""
        return 1 if self.config.labels else max(len(self.fitted.model.volume.members), 1)

    def results(self, kept: str) -> list[str]:
        """Return what its layers show, kept in some way: the same words for the same choices."""
        return [describe_result(f"{self.what} {kept}", self.config, part) for part in self.parts]

    def layers(self) -> list[Drawn]:
        """Return layers that render on access.

        Raises
        ------
        ValueError
            If the model cannot show it, a setting breaks its rule, or the slices are not evenly spaced.
        """
        model = self.fitted.model
        return MAKERS[self.what](self.fitted.name, model, self.fitted.frames, self.config)

    def recipe(self, *, streamed: bool) -> RenderRecipe:
        """Return what does the same without napari."""
        bounds = self.what == "uncertainty"
        return RenderRecipe(changed_settings(self.config), self.images, bounds, streamed)


def subject_of(fitted: Fitted, what: What, config: medgs.RenderConfig) -> Subject:
    """Return something of a model at the slices of a config."""
    return Subject(fitted, what, config.model_copy(update={"labels": what == "labels interpolated"}))
