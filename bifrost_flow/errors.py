"""The errors that a caller can tell apart, split by what the caller can do about them.

    BifrostError
    ├── SettingsError         a setting, flag or file of settings is wrong: mend it (exit code 2)
    ├── ModelError
    │   ├── ModelUnavailable  down, throttled or too slow: the same call may succeed later
    │   └── ModelRefused      the call itself was refused or the answer is unusable: repeating it won't help
    ├── WarehouseError        tables can't be read or written
    └── DeliveryError         a result could not be handed to Slack, MLflow or a file: best effort, recorded

An input that can't be read is no error here but a `Problem`: the rest goes on.

Connectors translate a vendor's errors into these, once, with ``raise … from``. Messages say what was wrong,
with which value, and what to do.
"""


class BifrostError(Exception):
    """Base of all errors that this product raises on purpose."""


class SettingsError(BifrostError):
    """A setting, flag or file of settings is wrong."""


class ModelError(BifrostError):
    """A model call failed; the tokens are what the provider counted all the same, for a cut answer say."""

    def __init__(self, message: str, *, tokens_in: int = 0, tokens_out: int = 0) -> None:
        super().__init__(message)
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out


class ModelUnavailable(ModelError):
    """The model is down, throttled or too slow; `retry_after_s` is what the server asked for, if it did.

    `unreachable` says that nobody answered at all, so that asking about other things won't help either;
    `may_have_cost` that the model may have worked, and nobody told what for.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        unreachable: bool = False,
        may_have_cost: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable
        self.may_have_cost = may_have_cost


class ModelRefused(ModelError):
    """The model refused the call, or its answer is unusable even after one repair."""


class WarehouseError(BifrostError):
    """The warehouse can't be read or written."""


class DeliveryError(BifrostError):
    """A result could not be handed over; the result itself is safe in the warehouse."""
