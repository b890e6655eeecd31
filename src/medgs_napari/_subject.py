"""What of a model is rendered: its images, how far they may be off, or its labels; at which slices, and how.

A model and settings come in; virtual layers go out, one for each run of even spacing, with the names that tell them
apart and the words by which layers of the same are found again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medgs_napari._arrays import Part, parts_of
from medgs_napari._recipes import RenderRecipe, changed_settings
from medgs_napari._rendered import Drawn, describe_rendering, describe_result, unit_of
from medgs_napari._runs import Run, even_runs
from medgs_napari._session import Fitted
from medgs_napari._virtual import brightest_bounds, virtual_bounds, virtual_labels, virtual_layers

if TYPE_CHECKING:
    import medgs_core as medgs

What = Literal["interpolated", "uncertainty", "labels interpolated"]
"""What can be shown of a model."""

MAKERS = {"interpolated": virtual_layers, "labels interpolated": virtual_labels}

WORDS = {"interpolated": "", "uncertainty": " uncertainty", "labels interpolated": " labels"}
"""What the names of layers and of files say of it."""

VIRTUAL = "virtual"
"""How slices are kept that are rendered when they are looked at, as `Subject.results` is told."""

MOST_LAYERS = 20
"""That one rendering adds: the list of layers is to be read, and each takes time to draw."""


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

    @cached_property
    def runs(self) -> list[Run]:
        """The runs of evenly spaced slices, each of which takes a layer.

        Raises
        ------
        ValueError
            If there are too many of them, or a setting breaks its rule.
        """
        runs = even_runs(self.fitted.model, self.config)
        count = len(runs) * len(self.parts)
        if len(runs) > 1 and count > MOST_LAYERS:
            raise ValueError(
                f"Slices at uneven distances take a layer for each stretch of even spacing, {MOST_LAYERS} at most, got "
                f"{count}; give fewer positions, or a distance between slices."
            )
        return runs

    def describe(self, kept_in: str = "") -> str:
        """Say how many slices are rendered, and in how many layers; parameters and errors as of its parts."""
        return describe_rendering(self.fitted.model, self.config, len(self.runs), kept_in)

    def results(self, kept: str) -> list[str]:
        """Return what its layers show, kept in some way: the same words for the same choices."""
        shown = [f"{self.what} {kept}" + (f" in run {number}" if number else "") for number in range(len(self.runs))]
        return [describe_result(one, self.config, part) for one in shown for part in self.parts]

    def layers(self, kept: str = "") -> list[Drawn]:
        """Return layers that render on access, run by run; their names say what was chosen, and how they are kept.

        Raises
        ------
        ValueError
            If the model cannot show it, a setting breaks its rule, or there would be too many layers.
        """
        made: list[Drawn] = []
        for number, run in enumerate(self.runs):
            for drawn in self._layers_of(run):
                words = [drawn.settings["name"], self._choice(run) + WORDS[self.what], kept]
                settings = {**drawn.settings, "name": " ".join(word for word in words if word)}
                if run.thickness is not None:
                    scale = np.array(settings["scale"])
                    scale[drawn.frame.slice_axis] *= run.thickness
                    settings["scale"] = tuple(scale)
                made.append(replace(drawn, settings=settings, run=number))
        return made

    def _layers_of(self, run: Run) -> list[Drawn]:
        """Return the layers of a run; bounds have one contrast in all of them."""
        fitted = self.fitted
        if self.what == "uncertainty":
            return virtual_bounds(fitted.name, fitted.model, fitted.frames, run.config, self._brightest)
        return MAKERS[self.what](fitted.name, fitted.model, fitted.frames, run.config)

    def prepare(self) -> None:
        """Render what its layers need to know when they are made, in a thread where the window must not wait.

        Raises
        ------
        ValueError
            If the model cannot show it, or a setting breaks its rule.
        """
        if self.what == "uncertainty":
            _ = self._brightest

    @cached_property
    def _brightest(self) -> list[float]:
        return brightest_bounds(self.fitted.model, self.fitted.frames, self.config)

    def _choice(self, run: Run) -> str:
        """Return which slices were chosen, and how they differ from what is usual, in few words."""
        config = self.config
        if config.positions is not None or not run.whole:
            choice = f"at {run.words}"
        elif config.spacing is not None:
            choice = f"{config.spacing:.4g} {unit_of(self.fitted.model.volume)}"
        else:
            choice = "isotropic" if config.isotropic else f"x{config.factor or 1}"
        return choice + ("" if config.detail == "auto" else f" detail {config.detail}") + " denoised" * config.denoise

    def recipe(self, *, streamed: bool) -> RenderRecipe:
        """Return what does the same without napari."""
        runs = {} if self.runs[0].whole else {run.file_words.replace(" ", "_"): run.positions for run in self.runs}
        settings = changed_settings(self.config.model_copy(update={"factor": None, "positions": None} if runs else {}))
        return RenderRecipe(settings, self.images, self.what == "uncertainty", streamed, runs)


def subject_of(fitted: Fitted, what: What, config: medgs.RenderConfig) -> Subject:
    """Return something of a model at the slices of a config."""
    return Subject(fitted, what, config.model_copy(update={"labels": what == "labels interpolated"}))


def first_look(fitted: Fitted, factor: int) -> Subject:
    """Return what is shown of a model at first, in one layer: its images, or its labels where there is nothing else.

    So many slices per measured step; where slices were measured at uneven distances, at the median of these as a step.
    """
    import medgs_core as medgs

    model, config = fitted.model, medgs.RenderConfig(factor=factor)
    measured = medgs.sample_slices(model, medgs.RenderConfig()).positions
    if measured is not None:
        config = medgs.RenderConfig(spacing=float(np.median(np.diff(measured))) / factor)
    return subject_of(fitted, "interpolated" if model.has_image else "labels interpolated", config)
