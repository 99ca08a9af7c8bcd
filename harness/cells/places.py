"""Where data sets and pretrained weights lie on this machine, when they do not come from the hub.

A name is looked for as a folder of that name in every place of the environment variable (``HARNESS_DATA``,
``HARNESS_MODELS``; several are separated like PATH), then in ``data`` or ``models`` in the current folder and beside
the project, then in ``../shared``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from harness.errors import UserError

Kind = Literal["data", "models"]
_PROJECT = Path(__file__).resolve().parents[2]
STATE_FILE = ".safetensors"
"""End of a name that means a single file of weights."""


def variable(kind: Kind) -> str:
    """Name of the environment variable."""
    return f"HARNESS_{kind.upper()}"


def places(kind: Kind) -> tuple[Path, ...]:
    """Every folder that is searched, in order; not all of them need exist."""
    named = [Path(part) for part in os.environ.get(variable(kind), "").split(os.pathsep) if part]
    near = [base / folder for base in (Path.cwd(), _PROJECT) for folder in (kind, f"../shared/{kind}")]
    return tuple(dict.fromkeys([*named, *near]))


def find_folder(kind: Kind, name: str) -> Path | None:
    """The first folder called `name` in the places, or None."""
    found = (place / name for place in places(kind))
    return next((folder for folder in found if folder.is_dir()), None)


def find_model(name: str) -> Path | None:
    """The weights of this name (or at this path).

    That is a complete model folder, configuration and safetensors weights; or, where the name ends in
    ``.safetensors``, one file.
    """
    candidates = [Path(name), *(place / name for place in places("models"))]
    if name.endswith(STATE_FILE):
        return next((file for file in candidates if file.is_file()), None)
    for folder in candidates:
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return folder
    return None


def model_place(name: str) -> str:
    """What a network is built from: the local folder or file if there is one, else the name on the hub."""
    folder = find_model(name)
    return name if folder is None else str(folder)


def missing_model(name: str) -> str | None:
    """Why the weights of this name cannot be read without a network, in one sentence; None if they can."""
    if name.endswith(STATE_FILE):
        if find_model(name) is not None:
            return None
        folder = Path(name).parent.name
        return (
            f"the weights '{name}' are not on this machine: put the folder '{folder}' into models/ or name its parent "
            f"in {variable('models')}"
        )
    if find_model(name) is not None or _is_in_hub_cache(name, "config.json", "model"):
        return None
    put = f"put its folder into models/ or name its parent in {variable('models')}"
    unfinished = find_folder("models", name)
    if unfinished is not None and (unfinished / "build.py").is_file():
        command = f"python {unfinished / 'build.py'} models/{name}"
        return f"'{unfinished}' holds no .safetensors weights yet: run  {command}  once"
    if "/" in name or name.startswith("bert-"):
        return f"the weights of '{name}' are not on this machine: run  hf download {name}  with a network, or {put}"
    return f"the weights of '{name}' are not on this machine: {put}"


def missing_data(folder: str, hub: str | None) -> str | None:
    """Why a data set cannot be read without a network, in one sentence; None if it can."""
    if find_folder("data", folder) is not None:
        return None
    if hub is not None and (Path(hub).is_dir() or _is_in_hub_cache(hub, "README.md", "dataset")):
        return None
    put = f"put the folder '{folder}' into data/ or name its parent in {variable('data')}"
    if hub is None:
        return f"the data of '{folder}' are not on this machine: {put}"
    return (
        f"the data of '{hub}' are not on this machine: run  hf download --repo-type dataset {hub}  with a network, "
        f"or {put}"
    )


def _is_in_hub_cache(name: str, file: str, kind: Literal["model", "dataset"]) -> bool:
    # The library that knows the layout of its cache is only asked where it is installed.
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return False
    try:
        return isinstance(try_to_load_from_cache(name, file, repo_type=kind), str)
    except HFValidationError as error:
        raise UserError(f"'{name}' is not a name that the hub allows ({error}): use owner/name or a folder") from error
