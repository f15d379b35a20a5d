"""Parameters of the flows that are a choice: Prefect's form knows them, its server takes nothing else.

A call from our own process is not held to them: the settings and filters say better what is wrong.
"""

from typing import Annotated, get_args

from pydantic import Field

from bifrost_flow.records import SEVERITIES
from bifrost_flow.settings import RunnerSettings, Settings

_FIELDS = Settings.model_fields
_RUNNERS = get_args(RunnerSettings.model_fields["kind"].annotation)

Provider = Annotated[str, Field(json_schema_extra={"enum": [*get_args(_FIELDS["provider"].annotation)]})]
Language = Annotated[str, Field(json_schema_extra={"enum": [*get_args(_FIELDS["lang"].annotation)]})]
Severity = Annotated[str, Field(json_schema_extra={"enum": [*SEVERITIES]})]
RunnerKind = Annotated[str, Field(json_schema_extra={"enum": [*_RUNNERS]})]
