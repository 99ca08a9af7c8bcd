"""The names of the recipes: every file of this package that defines one."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from backbones import recipes
from backbones.errors import BackboneError
from backbones.recipes.base import Recipe

_OTHER_FILES = frozenset({"base", "forward", "losses", "registry", "stages"})


def recipe_names() -> tuple[str, ...]:
    """Every known recipe, sorted; a recipe is called like its file."""
    found = {module.name for module in pkgutil.iter_modules(recipes.__path__)}
    return tuple(sorted(found - _OTHER_FILES))


def find_recipe(name: str) -> Recipe:
    """The recipe of this name with its published settings.

    Raises:
        BackboneError: there is no such recipe.
    """
    if name not in recipe_names():
        raise BackboneError(f"unknown recipe '{name}': allowed are {', '.join(recipe_names())}.")
    module = import_module(f"backbones.recipes.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and getattr(value, "name", None) == name:
            recipe: Recipe = value()
            return recipe
    raise BackboneError(f"'backbones/recipes/{name}.py' defines no recipe called '{name}': give its class that name.")
