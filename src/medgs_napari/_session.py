"""What was fitted in one viewer, and what runs: the state that all docks share, with events and without Qt.

Fitted models come in and are told of; layers are known by their ids, which survive renaming and deleting.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from medgs_napari._frames import Frame, tilt_left_out
from medgs_napari._rendered import FLAT, frames_of_model

if TYPE_CHECKING:
    from napari.components import ViewerModel

    import medgs_core as medgs

ENDING = ".medgs"

FORBIDDEN = '\\/:*?"<>|'
"""Letters that a file cannot have in its name on some system."""

LONGEST_NAME = 60
"""Letters of a model's name in that of its file: systems allow 255 bytes, and a letter may take four of them."""

MOST_LISTED = 8
"""Labels named one by one."""

OURS, REFERENCE = "medgs", "linear"
"""Names among the scores: of the model, and of what it is compared with."""


@dataclass(eq=False)
class Fitted:
    """A model in the list.

    Attributes
    ----------
    name : what the list calls it
    model : the model
    frames : how each of its images is shown
    source_id : id of the layer that it was fitted to, empty for a model from a file
    source_name : what that layer was called, or the file
    checkpoint : what a stopped fit needs to go on
    recipe : how it was made, as `_recipes.FitRecipe`; None for a model from a file
    path : the file that it was saved to or loaded from, empty for none
    """

    name: str
    model: medgs.FittedModel
    frames: tuple[Frame, ...]
    source_id: str = ""
    source_name: str = ""
    checkpoint: medgs.FitCheckpoint | None = None
    recipe: Any = None
    path: str = ""

    @property
    def file_name(self) -> str:
        """What a new file of it may be called on any system."""
        plain = "".join("_" if one in FORBIDDEN or not one.isprintable() else one for one in self.name)
        return (plain.strip(" .")[:LONGEST_NAME] or "model") + ENDING

    @property
    def score(self) -> str:
        """Say how well hidden slices were predicted."""
        return score_text(self.model.scores)

    def describe(self) -> str:
        """Say what the model is made of, and what state it is in."""
        model = self.model
        size = " × ".join(str(n) for axis, n in enumerate(model.volume.shape3d) if axis != model.axis)
        parts = [f"{len(model.gaussians):,} Gaussians for {model.volume.shape3d[model.axis]} slices of {size}"]
        if model.labels is not None:
            ids = model.labels.annotation.ids
            listed = ", ".join(str(one) for one in ids[:MOST_LISTED])
            parts.append(f"label{'s' if len(ids) > 1 else ''} {listed}{' and more' if len(ids) > MOST_LISTED else ''}")
        parts += [
            word
            for word, told in (
                ("no image", not model.has_image),
                ("no measured slices", not model.has_source),
                ("stopped early, the Train dock resumes it", self.checkpoint is not None),
                ("not saved", not self.path),
            )
            if told
        ]
        return f"{'; '.join(parts)}."

    def source_now(self, layers: Iterable[Any]) -> str:
        """Return what the source layer is called now; its former name where it is gone."""
        if not self.source_id:
            return self.source_name
        for layer in layers:
            if layer.unique_id == self.source_id:
                return str(layer.name)
        return f"{self.source_name} (deleted)"


@dataclass(eq=False)
class Session:
    """All that docks of one viewer share."""

    models: list[Fitted] = field(default_factory=list)
    run: Any = None

    models_changed = Signal()
    """Emitted when a model comes, goes, or is saved."""

    run_changed = Signal()
    """Emitted when a fit begins or has ended."""

    def add(self, fitted: Fitted) -> None:
        """Put a model into the list, under a name that no other has."""
        fitted.name = _free_name(fitted.name, self.models)
        self.models.append(fitted)
        self.models_changed.emit()

    def rename(self, fitted: Fitted, name: str) -> None:
        """Call a model of the list otherwise, by a name that no other has; an empty one changes nothing."""
        others = [one for one in self.models if one is not fitted]
        if name.strip():
            fitted.name = _free_name(name.strip(), others)
        self.models_changed.emit()

    def relabel(self, fitted: Fitted, model: medgs.FittedModel) -> None:
        """Put a model with other labels in the place of the one before; its file does not hold them."""
        fitted.model, fitted.path = model, ""
        self.models_changed.emit()

    def remove(self, fitted: Fitted) -> None:
        """Take a model out of the list; layers that render it keep it alive."""
        self.models.remove(fitted)
        self.models_changed.emit()

    def saved(self, fitted: Fitted, path: str) -> None:
        """Remember the file of a model."""
        fitted.path = path
        self.models_changed.emit()

    def begin(self, run: Any) -> None:
        """Make a fit the one that runs; docks that open later find it in `run`.

        Raises
        ------
        ValueError
            If another one runs.
        """
        if self.run is not None:
            raise ValueError("One fit runs at a time, got another one while it does; wait for it or stop it.")
        self.run = run
        self.run_changed.emit()

    def end(self) -> None:
        """Let go of the fit that ran."""
        self.run = None
        self.run_changed.emit()


def _free_name(name: str, others: Iterable[Fitted]) -> str:
    """Return a name, with a number where another model has it."""
    taken = {one.name for one in others}
    return next(one for one in chain([name], (f"{name} [{k}]" for k in count(2))) if one not in taken)


def score_text(scores: Any) -> str:
    """Say how well hidden slices were predicted, beside linear interpolation, in dB.

    Examples
    --------
    >>> score_text({"medgs": 27.26, "linear": 26.63})
    '27.3 (linear 26.6)'
    """
    if OURS in scores:
        return f"{scores[OURS]:.1f} ({REFERENCE} {scores[REFERENCE]:.1f})"
    return "none" if not scores else f"none (linear {scores[REFERENCE]:.1f})"


def fitted_from_file(model: medgs.FittedModel, path: str, checkpoint: medgs.FitCheckpoint | None = None) -> Fitted:
    """Return a model from a file as the list holds it."""
    name, frames = Path(path).name, frames_of_model(model)
    return Fitted(name.removesuffix(ENDING), model, frames, source_name=name, checkpoint=checkpoint, path=str(path))


def load_fitted(path: str) -> tuple[Fitted, str]:
    """Return the model in a file, and the state beside it if its fit was stopped; and why that is not, in a sentence.

    Raises
    ------
    ValueError
        If the model cannot be read.
    """
    import medgs_core as medgs

    model, state = medgs.load_model(path), medgs.state_path(path)
    if not state.exists():
        return fitted_from_file(model, path), ""
    try:
        checkpoint = medgs.load_checkpoint(state)
    except ValueError as error:
        return fitted_from_file(model, path), str(error)
    if not model.has_source or checkpoint.facts.get("input_sha256") != model.provenance.get("input_sha256"):
        why = (
            f"A fit is resumed with the slices that it was stopped on, got none in '{Path(path).name}'; use medgs fit."
        )
        return fitted_from_file(model, path), why
    return fitted_from_file(model, path, checkpoint), ""


def save_fitted(fitted: Fitted, path: str) -> None:
    """Write a model to a file, with the state of a stopped fit beside it, as `medgs fit` does.

    The file says where the image stands, and remembers if it was shown flat.

    Raises
    ------
    ValueError
        If the files cannot be written.
    """
    import medgs_core as medgs

    model = fitted.model
    if tilt_left_out(model.volume, fitted.frames[0]) is not None:
        model = replace(model, provenance={**model.provenance, FLAT: True})
    medgs.save_model(model, path)
    state = medgs.state_path(path)
    if fitted.checkpoint is not None:
        medgs.save_checkpoint(fitted.checkpoint, state)
    else:
        state.unlink(missing_ok=True)  # of a model that was there before


_sessions: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()
"""One per viewer, because napari makes each dock on its own and gives it nothing but the viewer."""


def session_of(viewer: ViewerModel) -> Session:
    """Return the state that the docks of a viewer share."""
    return _sessions.setdefault(viewer_itself(viewer), Session())


def viewer_itself(viewer: ViewerModel) -> Any:
    """Return the viewer behind the proxies that napari hands out, one and the same for all of them."""
    return getattr(viewer, "__wrapped__", viewer)
