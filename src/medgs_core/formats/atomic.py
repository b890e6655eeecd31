"""A file or a folder that appears complete or not at all: written beside its target, then renamed over it."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield an open binary file that takes the place of `path` when the block ends without an exception.

    After an exception, an interrupt included, `path` is as it was and nothing is left beside it.

    Raises
    ------
    ValueError
        If the file cannot be written: no such folder, no permission, no space.
    """
    target = _target_of(path)
    temporary = _temporary_beside(target)
    try:
        try:
            # "x" and the ordinary permissions of a new file, which tempfile would narrow to the owner
            with temporary.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # a full disk may show only here, and must before the old file goes
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


@contextmanager
def replaced_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield where to make a folder, of the same name, that takes the place of `path` when the block ends well.

    After an exception, an interrupt included, `path` is as it was and nothing is left beside it.

    Raises
    ------
    ValueError
        If the folder cannot be written: `path` is a file, no such parent folder, no permission, no space.
    """
    target = _target_of(path, folder=True)
    temporary = _temporary_beside(target)
    made, former = temporary / target.name, temporary / "former"
    try:
        try:
            temporary.mkdir()
            yield made
            if target.is_dir():
                os.replace(target, former)  # no system renames a folder over one that is not empty
            try:
                os.replace(made, target)
            except OSError:
                if former.is_dir():
                    os.replace(former, target)
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise unwritable(target, error) from error


def check_folder_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be made now, leaving one that is there untouched.

    Raises
    ------
    ValueError
        If the path is a file, its parent folder does not exist or takes no new one.
    """
    target = _target_of(path, folder=True)
    temporary = _temporary_beside(target)
    try:
        temporary.mkdir()
        temporary.rmdir()
    except OSError as error:
        raise unwritable(target, error) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a path that cannot be written now, leaving the file there untouched.

    Raises
    ------
    ValueError
        If the path is a folder, its folder does not exist or takes no new file.
    """
    target = _target_of(path)
    temporary = _temporary_beside(target)
    try:
        try:
            temporary.open("xb").close()  # permission bits tell neither root nor of read-only disks
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(target: Path, error: OSError) -> ValueError:
    """Return the sentence for what the system says of writing to a path."""
    return ValueError(
        f"The output must be writable, got '{target}' ({error.strerror or error}); make room or choose another folder."
    )


def _target_of(path: str | os.PathLike[str], *, folder: bool = False) -> Path:
    target = Path(os.path.realpath(path))  # a link stays a link: what it points to is replaced
    try:
        if folder and target.exists() and not target.is_dir():
            raise ValueError(f"The output must be a folder, got the file '{path}'; delete it or change the name.")
        if target.is_dir() and not folder:
            raise ValueError(f"The output must be a file, got the folder '{path}'; add a file name to it.")
        if not target.parent.is_dir():
            raise ValueError(f"The output folder must exist, got '{target.parent}'; create it first.")
    except OSError as error:  # a folder on the way is closed to us, or the name is too long
        raise unwritable(target, error) from error
    return target


def _temporary_beside(target: Path) -> Path:
    # Same folder, so that renaming is atomic; cut short, as the target's name may be the longest allowed.
    return target.with_name(f".{target.name[:32]}.{secrets.token_hex(4)}.part")
