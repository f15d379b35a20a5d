"""What the commands that read logs need for targets of CI systems."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bifrost_flow.errors import SettingsError

if TYPE_CHECKING:
    from connectors.ci.access import CiAccess


def open_ci_access(*targets: str) -> "CiAccess | None":
    """Return how CI systems are reached, by the settings, if one of `targets` names one; else none are read.

    Raises:
        SettingsError: the settings are wrong, or a target is.
    """
    from connectors.ci.access import is_ci_target

    if not any(is_ci_target(target) for target in targets):
        return None
    from bifrost_flow.settings import load_settings
    from connectors.ci.fetch import check_ci_target
    from flows.opening import list_ci_access

    access = list_ci_access(load_settings())
    for target in targets:
        check_ci_target(target, access)
    return access


def require_ci_access(targets: Sequence[str]) -> "CiAccess | None":
    """Return the same, for a command that tells what is wrong with its arguments by itself."""
    import typer

    try:
        return open_ci_access(*targets)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
