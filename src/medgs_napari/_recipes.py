"""What a dock did, as text that does it again without napari: Python, or a command.

The settings of a fit or of a rendering come in, text goes out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

UNNAMED = "model.medgs"
"""What a model is called that has no file yet."""

LONGEST_NAME = 80
"""Letters of a layer's name in that of a file: systems allow 255 bytes, and a letter may take four of them."""

SAVE_FIRST = "save the image with File > Save Selected Layers as"
SAVE_LABELS = "save the labels with File > Save Selected Layers as"


@dataclass(frozen=True)
class Input:
    """One image of a fit.

    Attributes
    ----------
    name : of the layer
    path : the file that it was read from as it is; None where there is none
    number : which volume of a series
    alone : whether it is all of the layer, so that saving the layer makes a file of it
    """

    name: str
    path: str | None = None
    number: int | None = None
    alone: bool = True

    @property
    def file(self) -> str:
        """The file, or a name for one."""
        return self.path or f"{_plain(self.name)}.nii.gz"


@dataclass(frozen=True)
class FitRecipe:
    """A fit.

    Attributes
    ----------
    inputs : the images, at least one
    settings : those of `FitConfig` that are not at their defaults
    labels : a labels layer that was fitted too
    """

    inputs: tuple[Input, ...]
    settings: Mapping[str, Any]
    labels: Input | None = None

    def python(self, model_path: str = "") -> str:
        """Return Python that fits the same model; images without a file are taken from the saved model."""
        if all(one.path for one in self.inputs):
            reads = [_read(one) for one in self.inputs]
            source = reads[0] if len(reads) == 1 else f"medgs.combine_volumes({', '.join(reads)})"
            lines = [f"volume = {source}"]
        else:
            names = " and ".join(repr(one.name) for one in self.inputs)
            saved = "" if model_path else f", once it is saved as {UNNAMED}"
            lines = [
                f"# {names} did not come from a file as it is: the model remembers what was fitted{saved}",
                f"volume = medgs.load_model({model_path or UNNAMED!r}).volume",
            ]
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        labels = ""
        if self.labels is not None:
            lines += [f"# {SAVE_LABELS} {self.labels.file}", f"labels = medgs.read_volume({self.labels.file!r})"]
            labels = ", labels=labels"
        return "\n".join(
            [
                "import medgs_core as medgs",
                "",
                *lines,
                f"result = medgs.fit_model(volume, medgs.FitConfig({settings}){labels})",
                "print(result.scores)",
                f"medgs.save_model(result.model, {model_path or UNNAMED!r})",
                "",
            ]
        )

    def command(self, model_path: str = "", further: Sequence[str] = ()) -> str:
        """Return the command that fits the same model, with further options."""
        if len({one.number for one in self.inputs}) > 1:
            return "# `medgs fit` takes the same volume of every file: these need the Python text\n"
        if not all(one.path or one.alone for one in self.inputs):
            return "# `medgs fit` needs a file of what was fitted, which is a part of a layer: take the Python text\n"
        first, *others = (shlex.quote(one.file) for one in self.inputs)
        number = self.inputs[0].number
        words = ["medgs fit", first, *(["--with", *others] if others else [])]
        words += [] if number is None else [f"--volume {number}"]
        words += [option(name, value) for name, value in self.settings.items()]
        words += [] if self.labels is None else ["--labels", shlex.quote(self.labels.file)]
        words += [*further, "-o", shlex.quote(model_path or UNNAMED)]
        notes = [f"# {SAVE_FIRST} {one.file}" for one in self.inputs if one.path is None]
        notes += [] if self.labels is None else [f"# {SAVE_LABELS} {self.labels.file}"]
        return "\n".join([*notes, " ".join(words), ""])


@dataclass(frozen=True)
class RenderRecipe:
    """A rendering.

    Attributes
    ----------
    settings : those of `RenderConfig` that are not at their defaults
    images : how many images the model holds
    uncertainty : whether the bound of the error is rendered, not the image
    streamed : whether slices go into a folder one by one
    runs : where slices are unevenly spaced, the positions of each run of even spacing, by what the names of its files
        end with
    """

    settings: Mapping[str, Any]
    images: int = 1
    uncertainty: bool = False
    streamed: bool = False
    runs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def _ending(self) -> str:
        return ".ome.zarr" if self.streamed else ".nii.gz"

    def _outputs(self, stem: str) -> list[str]:
        return [f"{stem}{self._ending}", *(f"{stem}_{number}{self._ending}" for number in range(1, self.images))]

    def _each(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return for each run what the names of its files end with, and its settings."""
        each = [(words, {**self.settings, "positions": places}) for words, places in self.runs.items()]
        return each if each else [("", self.settings)]

    def python(self, model_path: str = "") -> str:
        """Return Python that renders the same volume, or the same volumes of several runs."""
        lines = [
            "import medgs_core as medgs",
            "",
            f"model = medgs.load_model({model_path or UNNAMED!r})",
        ]
        for words, settings in self._each():
            lines += self._lines(f"fine{words}", "".join(f", {name}={value!r}" for name, value in settings.items()))
        return "\n".join([*lines, ""])

    def _lines(self, stem: str, settings: str) -> list[str]:
        if self.streamed:
            outputs = self._outputs(stem)
            paths = repr(outputs[0]) if self.images == 1 else repr(outputs)
            bounds = ", bounds=True" if self.uncertainty else ""
            return [f"medgs.stream_volume(model, {paths}{bounds}{settings}).fill_all()"]
        function = "render_uncertainty" if self.uncertainty else "render_volume"
        lines = [f"volume = medgs.{function}(model{settings})"]
        if self.images == 1:
            return [*lines, f'medgs.write_volume(volume, "{stem}.nii.gz")']
        return [
            *lines,
            "for number, image in enumerate(medgs.split_volume(volume)):",
            f'    medgs.write_volume(image, f"{stem}_{{number}}.nii.gz")',
        ]

    def command(self, model_path: str = "") -> str:
        """Return the command that renders the same volume, or one for each run."""
        commands = []
        for ending, settings in self._each():
            first, *others = self._outputs(f"fine{ending}")
            words = ["medgs render", shlex.quote(model_path or UNNAMED), "-o", first]
            words += ["--with", *others] if others else []
            words += [option(name, value) for name, value in settings.items()]
            words += [f"--uncertainty uncertainty{ending}{self._ending}"] if self.uncertainty else []
            commands.append(" ".join(words) + "\n")
        return "".join(commands)


def changed_settings(config: BaseModel) -> dict[str, Any]:
    """Return the settings that are not at their defaults."""
    return {
        name: value
        for name, value in config.model_dump().items()
        if value != type(config).model_fields[name].get_default(call_default_factory=True)
    }


def _read(one: Input) -> str:
    number = "" if one.number is None else f", volume={one.number}"
    return f"medgs.read_volume({one.path!r}{number})"


def option(name: str, value: Any) -> str:
    """Return a setting as a command takes it."""
    word = "--" + name.replace("_", "-")
    if value is True:
        return word
    return f"{word} {','.join(str(one) for one in value) if isinstance(value, tuple) else value}"


def _plain(name: str) -> str:
    """Return a layer's name as a file may be called that is no option of a command."""
    plain = "".join(one if one.isalnum() or one == "-" else "_" for one in name)
    return plain.strip("-_")[:LONGEST_NAME] or "image"
