"""Data and weights that travel inside installed Python packages, which are located but never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from harness.cells.specs import Spec
from harness.errors import UserError, missing_extra


class PackagePath(Spec):
    """A file or folder inside an installed package.

    Attributes:
        package: Name for pip.
        module: Importable name, whose folder holds the path.
        path: File or folder inside the module's folder.
        extra: Extra of this project that installs the package.
    """

    package: str
    module: str
    path: str
    extra: str


def locate(source: PackagePath) -> Path:
    """Return the file or folder on disk without importing the package.

    Raises:
        UserError: The package is not installed, or does not hold the path.
    """
    found = importlib.util.find_spec(source.module)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    if not folders:
        raise missing_extra(source.extra, source.package)
    path = Path(folders[0], source.path)
    if not path.exists():
        raise UserError(
            f"package '{source.package}' is installed without {path}: "
            f"run  pip install --force-reinstall {source.package}"
        )
    return path


def missing_package(source: PackagePath) -> str | None:
    """Return why the path is not there (and what to do), or None when it is."""
    try:
        locate(source)
    except UserError as error:
        return str(error)
    return None
