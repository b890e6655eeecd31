"""What forms call the settings of the core: a mistake comes in by the name of a field, and goes out by its label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def label_of(name: str, field: FieldInfo) -> str:
    """Return what a form calls a field."""
    return field.title or spelled(name)


def spelled(name: str) -> str:
    """Return the name of a field in words.

    Examples
    --------
    >>> spelled("labeled_slices")
    'Labeled slices'
    """
    return name.replace("_", " ").capitalize()


@contextmanager
def named_as_shown(*settings: type[BaseModel]) -> Iterator[None]:
    """Let a mistake of the core name a setting as the form does: its sentence begins with the setting's name.

    Raises
    ------
    ValueError
        In place of the one of the core.
    """
    try:
        yield
    except ValueError as mistake:
        raise ValueError(_as_shown(str(mistake), settings)) from mistake


def _as_shown(sentence: str, settings: tuple[type[BaseModel], ...]) -> str:
    for one in settings:
        for name, field in one.model_fields.items():
            for word in (name, spelled(name)):
                if sentence.startswith(f"{word} "):
                    return f"{label_of(name, field)}{sentence.removeprefix(word).rstrip('.')}."
    return sentence
