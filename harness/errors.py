"""User errors: one sentence that says what, where, which values are allowed and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from policies.errors import unknown_name_text


class UserError(ValueError):
    """An error of the user's input; shown as one sentence without a traceback, exit code 1."""

    user_sentence = True


class TimingInvalidError(UserError):
    """A wall-clock run that must not be believed; exit code 5."""

    exit_code = 5


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that nobody registered, with the nearest known one.

    Args:
        kind: What the name should have been, e.g. ``"cell"``.
        name: What was asked for.
        known: Every allowed name.
    """
    all_of_them = " See them all with  python -m harness list cells." if kind == "cell" else ""
    return UserError(unknown_name_text(kind, name, known) + all_of_them)


def missing_extra(extra: str, module: str) -> UserError:
    """Return the error for an optional dependency that is not installed, with the exact pip command.

    Args:
        extra: Name of the extra in ``pyproject.toml``, e.g. ``"demo"``.
        module: The import or package that was not found.
    """
    return UserError(f"'{module}' is not installed, which this step needs: run  pip install -e '.[{extra}]'")
