"""What the docks *Segment* and *Surface* did, as text that does it again without napari.

The settings of a propagation or of an extraction come in, Python or a command goes out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medgs_napari._recipes import UNNAMED, FitRecipe, option

PAINTED = "painted.nii.gz"
SAVE_LABELS = f"# save the painted layer as {PAINTED} with File > Save Selected Layers"
SAVE_MODEL = f"# save the model as {UNNAMED} in the Interpolate or the Surface dock first"


@dataclass(frozen=True)
class LabelRecipe:
    """A propagation.

    Attributes
    ----------
    settings : those of `LabelConfig` that are not at their defaults
    fit : how the model was fitted; None for one from a file
    alone : whether there was no image
    alone_settings : those of `FitConfig` then
    factor : slices per step of the labels
    model_path : of the model without its labels, empty for none
    """

    settings: Mapping[str, Any]
    fit: FitRecipe | None = None
    alone: bool = False
    alone_settings: Mapping[str, Any] = field(default_factory=dict)
    factor: int = 1
    model_path: str = ""

    def python(self) -> str:
        """Return Python that propagates the same labels."""
        model = self.model_path or UNNAMED
        config = f"medgs.LabelConfig({_arguments(self.settings)})"
        factor = f", factor={self.factor}" if self.factor > 1 else ""
        if self.alone:
            fit = f"medgs.FitConfig({_arguments(self.alone_settings)})"
            fitted = [f"model = medgs.fit_model(None, {fit}, labels=painted, label_config={config}).model"]
        else:
            fitted = [
                *([] if self.model_path else [SAVE_MODEL]),
                f"model = medgs.load_model({model!r})",
                f"model = medgs.fit_labels(model, painted, {config})",
            ]
        return "\n".join(
            [
                "import medgs_core as medgs",
                "",
                SAVE_LABELS,
                f"painted = medgs.read_volume({PAINTED!r})",
                *fitted,
                f'medgs.write_volume(medgs.render_volume(model, labels=True{factor}), "labels.nii.gz")',
                f"medgs.save_model(model, {model!r})",
                "",
            ]
        )

    def command(self) -> str:
        """Return the commands that fit the same model and labels, and render these."""
        model = shlex.quote(self.model_path or UNNAMED)
        words = ["--labels", PAINTED, *(option(name, value) for name, value in self.settings.items())]
        if self.alone:
            words += [option(name, value) for name, value in self.alone_settings.items()]
            fit = " ".join(["medgs fit", *words, "-o", model]) + "\n"
        elif self.fit is not None:
            fit = self.fit.command(self.model_path, words)
        else:
            return "# `medgs fit` needs the image that this model was fitted to: take the Python text\n"
        factor = f" --factor {self.factor}" if self.factor > 1 else ""
        return f"{SAVE_LABELS}\n{fit}medgs render {model} --labels -o labels.nii.gz{factor}\n"


@dataclass(frozen=True)
class SurfaceRecipe:
    """An extraction.

    Attributes
    ----------
    settings : those of `SurfaceConfig` that are not at their defaults; without label and level all labels are meant
    """

    settings: Mapping[str, Any]

    @property
    def all_labels(self) -> bool:
        """Whether the surfaces of all labels are meant."""
        return not {"label", "level"} & self.settings.keys()

    def python(self, model_path: str = "") -> str:
        """Return Python that extracts the same surfaces."""
        function = "extract_surfaces" if self.all_labels else "extract_surface"
        arguments = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        call = f"medgs.{function}(model{arguments})"
        return "\n".join(
            [
                "import medgs_core as medgs",
                "",
                *([] if model_path else [SAVE_MODEL]),
                f"model = medgs.load_model({model_path or UNNAMED!r})",
                f"surfaces = {call}" if self.all_labels else f"surfaces = [{call}]",
                "for surface in surfaces:",
                "    print(surface.name, surface.area, surface.volume, surface.watertight)",
                'medgs.write_surface(surfaces, "surface.ply")',
                "",
            ]
        )

    def command(self, model_path: str = "") -> str:
        """Return the command that extracts the same surfaces."""
        words = ["medgs surface", shlex.quote(model_path or UNNAMED), "-o surface.ply"]
        words += ["--all-labels"] if self.all_labels else []
        words += [option(name, value) for name, value in self.settings.items()]
        note = "" if model_path else f"{SAVE_MODEL}\n"
        return f"{note}{' '.join(words)}\n"


def _arguments(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
