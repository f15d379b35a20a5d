"""Secrets that settings name but do not hold: `prefect-block:secret/NAME` is a Secret block on the server.

Within a flow run alone: who has no Prefect server has no blocks.
"""

from collections.abc import Mapping

from prefect.blocks.system import Secret

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from bifrost_flow.settings import load_settings, name_variable, named_blocks


async def read_secret_blocks(overrides: Mapping[str, object]) -> dict[str, object]:
    """Return `overrides` with the secrets of the blocks that the settings name, by dotted key.

    Raises:
        SettingsError: a block is not there, or can't be read.
    """
    found = dict(overrides)
    for key, name in named_blocks(load_settings(overrides)).items():
        try:
            # Typed as both, since Prefect's own method answers either way.
            block = await Secret.aload(name)
        except (ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(
                t("secrets.no_block", key=key, block=name, reason=reason, variable=name_variable(key))
            ) from error
        found[key] = str(block.get())
    return found
