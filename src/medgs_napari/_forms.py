"""Forms from settings: one widget per field, whose range, default and help stand in the core's config alone.

A class of settings comes in, a form goes out; from the form, checked settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget
from qtpy.QtWidgets import QFormLayout, QWidget

from medgs_napari._names import label_of, named_as_shown
from medgs_napari._qt import section

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Chosen = TypeVar("Chosen", bound="BaseModel")

LARGEST_SPIN = 2**31 - 1
"""Qt's numbers have 32 bits."""

LEAST_LENGTH, LARGEST_LENGTH, LENGTH_STEP = 0.001, 1e6, 0.1
"""Of lengths, in the unit of the image: a spin box needs ends, and shows three digits."""

BY_ITSELF = "automatic"
"""Shown in an empty line: the number is left to the core."""


def settings_form(
    settings: type[BaseModel], names: Sequence[str], values: Mapping[str, Any] | None = None
) -> Container[ValueWidget[Any]]:
    """Return a form of some fields, at their defaults; a number that is given a value is never left to the core."""
    given = values or {}
    form: Container[ValueWidget[Any]] = Container(
        widgets=[_widget(name, settings.model_fields[name], given.get(name)) for name in names], labels=True
    )
    form.margins = (0, 0, 0, 0)
    return form


def scatter(form: Container[ValueWidget[Any]], owner: QWidget) -> None:
    """Leave a form without a place of its own: its widgets are laid out one by one in their owner."""
    form.native.setParent(owner)
    form.native.hide()


def add_rows(rows: QFormLayout, form: Container[ValueWidget[Any]]) -> None:
    """Lay out the widgets of a form in rows, label by label."""
    for widget in form:
        rows.addRow(widget.label, widget.native)


def folded(form: Container[ValueWidget[Any]], owner: QWidget) -> QWidget:
    """Return the part of a dock, folded away at first, with the settings that few change."""
    scatter(form, owner)
    part, rows = section("Advanced")
    add_rows(rows, form)
    return part


def form_values(form: Container[ValueWidget[Any]], settings: type[BaseModel]) -> dict[str, Any]:
    """Return what the form holds, for the settings to check; fields that are left to the core are left out."""
    values: dict[str, Any] = {}
    for widget in form:
        value = widget.value
        if isinstance(widget, LineEdit):
            parts = tuple(part.strip() for part in str(value).split(",") if part.strip())
            if not parts:
                continue
            plain, _ = _plain_type(settings.model_fields[widget.name].annotation)
            value = parts if get_origin(plain) is tuple else value
        values[widget.name] = value
    return values


def _widget(name: str, field: FieldInfo, given: Any) -> ValueWidget[Any]:
    """Return the widget of one field."""
    plain, optional = _plain_type(field.annotation)
    common = {"name": name, "label": label_of(name, field), "tooltip": _sentence(field.description or "")}
    if get_origin(plain) is Literal:
        return ComboBox(choices=get_args(plain), value=field.default, **common)
    if plain is bool:
        return CheckBox(value=field.default, **common)
    left_out = optional and given is None
    if plain is float and not left_out:
        return FloatSpinBox(min=LEAST_LENGTH, max=LARGEST_LENGTH, step=LENGTH_STEP, value=given or 1.0, **common)
    if plain is int and not left_out:
        least, most = _range(field)
        return SpinBox(min=least, max=most, value=field.default if given is None else given, **common)
    line = LineEdit(value="", **common)
    line.native.setPlaceholderText(BY_ITSELF if plain in (int, float) else "")
    return line


def checked_settings(settings: type[Chosen], values: Mapping[str, Any]) -> Chosen:
    """Return settings from what forms hold.

    Raises
    ------
    ValueError
        If one breaks its rule: in the sentence of the core, which names it as the form does.
    """
    with named_as_shown(settings):
        return settings(**values)


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether None was there."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0], True
    return annotation, False


def _range(field: FieldInfo) -> tuple[int, int]:
    least = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), 0)
    most = next((bound.le for bound in field.metadata if hasattr(bound, "le")), LARGEST_SPIN)
    return int(least), min(int(most), LARGEST_SPIN)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""
