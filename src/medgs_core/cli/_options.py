"""Options of the command line, made from the settings: their choices, ranges, defaults and help stand there.

Classes of settings come in, options go out; parsed arguments come in, checked settings go out.
"""

import argparse
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from medgs_core.config import Settings

Chosen = TypeVar("Chosen", bound=Settings)

PLACEHOLDERS = {
    "slice_positions": "FILE",
    "voxel_size": "Z,Y,X",
    "positions": "T,T,...",
    "skip": "K,K,...",
    "labeled_slices": "all|K,K,...",
    "unlabeled_value": "N",
    "volume": "N|all",
}
"""What stands for the value in the help, where its type does not tell."""

TYPE_PLACEHOLDERS = {int: "N", float: "X", str: "TEXT"}


def add_settings(parser: argparse.ArgumentParser, *settings: type[Settings]) -> None:
    """Add an option for each field of the settings; a name that several have is one option.

    Values stay text: the settings themselves check them, so that every caller hears the same sentence.
    """
    fields: dict[str, FieldInfo] = {}
    for one in settings:
        fields |= {name: field for name, field in one.model_fields.items() if name not in fields}
    for name, field in fields.items():
        kind = _plain_type(field.annotation)
        given: dict[str, Any] = {"help": _help(field, kind), "default": argparse.SUPPRESS, "dest": name}
        if kind is bool:
            given["action"] = "store_true"
        else:
            given["metavar"] = PLACEHOLDERS.get(name) or _placeholder(kind)
        if get_origin(kind) is tuple:
            given["type"] = _split
        parser.add_argument(option_name(name), **given)


def chosen_settings(args: argparse.Namespace, settings: type[Chosen]) -> Chosen:
    """Return the settings that a command line asks for, defaults elsewhere.

    Raises
    ------
    ValueError
        One sentence for the first option that breaks its rule.
    """
    given = {name: value for name, value in vars(args).items() if name in settings.model_fields}
    try:
        return settings(**given)
    except ValueError as mistake:
        sentence = str(mistake)
        name = next((name for name in given if sentence.startswith(f"{name} ")), None)
        if name is None:
            raise
        raise ValueError(sentence.replace(name, option_name(name), 1)) from None


def option_name(field: str) -> str:
    """Return the option of a setting.

    Examples
    --------
    >>> option_name("voxel_size")
    '--voxel-size'
    """
    return "--" + field.replace("_", "-")


def _plain_type(annotation: Any) -> Any:
    """Return the type of a setting without the None that stands for "not given", and without words beside a number."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _placeholder(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(str(choice) for choice in get_args(kind))
    return TYPE_PLACEHOLDERS[kind]


def _help(field: FieldInfo, kind: Any) -> str:
    """Return what a setting means, with its range and default."""
    notes = [] if kind is bool else [*_range(field.metadata)]
    if field.default not in (None, ()) and kind is not bool:
        notes.append(f"default: {field.default}")
    text = (field.description or "").replace("%", "%%")
    return f"{text} ({', '.join(notes)})" if notes else text


def _range(metadata: Sequence[Any]) -> list[str]:
    """Return the bounds of a number in words, at most one phrase."""
    least = next((bound for bound in metadata if isinstance(bound, Ge | Gt)), None)
    most = next((bound for bound in metadata if isinstance(bound, Le | Lt)), None)
    match least, most:
        case Ge(low), Le(high):
            return [f"{low} to {high}"]
        case Ge(low), _:
            return [f"at least {low}"]
        case Gt(low), _:
            return [f"above {low}"]
    return []


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
