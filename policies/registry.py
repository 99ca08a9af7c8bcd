"""Which policies exist: every rule in this package's files, and those of installed packages (entry points)."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points
from types import MappingProxyType

import policies
from policies.base import ExitPolicy
from policies.errors import PolicyError, unknown_name_text

ENTRY_POINTS = "harness.policies"


@functools.cache
def catalogue() -> MappingProxyType[str, type[ExitPolicy]]:
    """Return all known policy classes by spec name.

    A file in this package that defines a subclass of ExitPolicy with a ``name`` is found by itself; a third-party
    package announces ``name = "module:Class"`` in the entry-point group ``harness.policies``.

    Raises:
        PolicyError: two classes claim the same name, or an entry point is not an ExitPolicy.
    """
    found: dict[str, type[ExitPolicy]] = {}
    for module_info in pkgutil.iter_modules(policies.__path__):
        module = importlib.import_module(f"policies.{module_info.name}")
        for value in vars(module).values():
            if _is_rule(value) and value.__module__ == module.__name__:
                _add(found, value)
    for point in entry_points(group=ENTRY_POINTS):
        value = point.load()
        if not _is_rule(value):
            raise PolicyError(f"entry point '{point.name}' ({point.value}) is not an ExitPolicy class with a name")
        _add(found, value)
    return MappingProxyType(dict(sorted(found.items())))


def policy_class(name: str) -> type[ExitPolicy]:
    """Return the class of a policy.

    Raises:
        PolicyError: nobody registered that name; says which is nearest and lists all.
    """
    known = catalogue()
    if name not in known:
        raise PolicyError(unknown_name_text("policy", name, known))
    return known[name]


def family(cls: type[ExitPolicy]) -> str:
    """The family of a rule: the name of the file that defines it."""
    return cls.__module__.rsplit(".", 1)[-1]


def reference(cls: type[ExitPolicy]) -> str:
    """The paper a rule comes from: the text after ``Reference:`` in its docstring, on one line."""
    _, _, text = (cls.__doc__ or "").partition("Reference:")
    return " ".join(text.split())


def _is_rule(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ExitPolicy) and "name" in vars(value)


def _add(found: dict[str, type[ExitPolicy]], cls: type[ExitPolicy]) -> None:
    other = found.get(cls.name)
    if other is not None and other is not cls:
        raise PolicyError(f"two policies are called '{cls.name}': {other.__module__} and {cls.__module__}; rename one")
    found[cls.name] = cls
