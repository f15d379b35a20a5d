"""A client for Bedrock, and AWS's errors in our terms.

Retries are ours alone (`total_max_attempts=1`): botocore's own would multiply with them, and its adaptive
mode sleeps inside a call where neither our time limit nor Ctrl-C reaches it. How fast to ask is for
`fanout.concurrency` to say.
"""

import os
from typing import Any

import botocore.session
from botocore import exceptions as boto
from botocore.config import Config
from botocore.eventstream import ParserError

# urllib3's own: botocore lets them through while a stream is read.
from botocore.httpsession import ProtocolError, URLLib3ReadTimeoutError
from botocore.parsers import ResponseParserError

from bifrost_flow.errors import ModelError, ModelRefused, ModelUnavailable, SettingsError
from bifrost_flow.language import t
from connectors.models.http import is_loopback, parse_retry_after, shorten

# Where AWS's chain looks for a key that is good for Bedrock alone.
BEDROCK_KEY = "AWS_BEARER_TOKEN_BEDROCK"
_MAX_CONNECTIONS = 1024
_CONNECT_TIMEOUT_S = 10.0

# All that a call, or the reading of its stream, can raise; the last four are not botocore's own.
VENDOR_ERRORS = (
    boto.BotoCoreError,
    boto.ClientError,
    ResponseParserError,
    ParserError,
    ProtocolError,
    URLLib3ReadTimeoutError,
)

_PASSING = frozenset(
    {
        *("ThrottlingException", "TooManyRequestsException", "RequestTimeout", "RequestTimeoutException"),
        *("ServiceUnavailableException", "InternalServerException", "InternalFailure"),
        *("ModelTimeoutException", "ModelNotReadyException"),
        *("ModelErrorException", "ModelStreamErrorException"),
    }
)
_BAD_CREDENTIALS = frozenset(
    {
        *("UnrecognizedClientException", "InvalidSignatureException", "SignatureDoesNotMatch"),
        *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "IncompleteSignature"),
        *("MissingAuthenticationToken", "MissingAuthenticationTokenException"),
    }
)
_NO_CREDENTIALS = (
    *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError),
    *(boto.NoAuthTokenError, boto.TokenRetrievalError, boto.SSOError, boto.MetadataRetrievalError),
)
_NOBODY_THERE = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_TIMED_OUT = (boto.ReadTimeoutError, URLLib3ReadTimeoutError)
_REFUSALS = {
    "AccessDeniedException": "model.bedrock_denied",
    "ResourceNotFoundException": "model.bedrock_not_found",
    "ValidationException": "model.bedrock_invalid",
}


def open_client(
    *, region: str | None, profile: str | None, endpoint_url: str | None, timeout_s: float
) -> Any:
    """Return a client of `bedrock-runtime`, for any number of threads; nobody is asked yet.

    Credentials come from AWS's default chain (environment, files, SSO, role of the host), or from `profile`.
    This is botocore's client, which is what boto3 hands out too.

    Raises:
        SettingsError: no region can be found, or the profile or the endpoint is wrong.
    """
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(timeout_s, _CONNECT_TIMEOUT_S),
        read_timeout=timeout_s,
        max_pool_connections=_MAX_CONNECTIONS,
        # Proxies of the environment never stand between this machine and itself.
        proxies={} if endpoint_url and is_loopback(endpoint_url) else None,
    )
    try:
        session = botocore.session.Session(profile=profile)
        found = find_region(session, region)
        return session.create_client(
            "bedrock-runtime", region_name=found, endpoint_url=endpoint_url, config=config
        )
    except boto.NoRegionError as error:
        raise SettingsError(t("model.bedrock_no_region")) from error
    except (boto.BotoCoreError, ValueError) as error:
        raise SettingsError(t("model.bedrock_unusable", reason=f"{error}.")) from error


def find_region(session: botocore.session.Session, region: str | None) -> str | None:
    """Return `region`, or else the one of AWS's own settings.

    Raises:
        BotoCoreError: the profile does not exist, or its configuration is broken.
    """
    # Alone among AWS's tools, botocore does not know AWS_REGION, which containers are given.
    return region or os.environ.get("AWS_REGION") or session.get_config_variable("region")


def read_detail(error: Exception) -> str:
    """Return what `error` says, on one line and shortened."""
    said = error.response.get("Error", {}).get("Message") if isinstance(error, boto.ClientError) else ""
    return shorten(said or str(error) or type(error).__name__)


def read_code(error: Exception) -> str:
    """Return AWS's name for `error`, empty if AWS did not answer; in streams it starts in lower case."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, boto.ClientError) else ""
    return code[:1].upper() + code[1:]


def translate_error(error: Exception, *, server: str, model: str) -> ModelError:
    """Return what one of `VENDOR_ERRORS` means for the caller."""
    detail = read_detail(error)
    if isinstance(error, boto.ClientError):
        return _translate_answer(error, detail, server=server, model=model)
    if isinstance(error, _NO_CREDENTIALS):
        return ModelRefused(t("model.bedrock_credentials", server=server, detail=detail))
    if isinstance(error, _NOBODY_THERE):
        return ModelUnavailable(t("model.no_answer", server=server), unreachable=True)
    if isinstance(error, _TIMED_OUT):
        return ModelUnavailable(t("model.timed_out", server=server, setting="bedrock.timeout"))
    if isinstance(error, ResponseParserError):
        return ModelUnavailable(t("model.not_json", server=server))
    if isinstance(error, boto.ConnectionClosedError):
        return ModelUnavailable(t("model.closed", server=server))
    if isinstance(error, boto.HTTPClientError | ParserError | ProtocolError):
        return ModelUnavailable(t("model.broke_off", server=server, detail=detail))
    # What is left was found wrong on this side, before anything was sent.
    return ModelRefused(t("model.bedrock_invalid", server=server, model=model, detail=detail))


def _translate_answer(error: boto.ClientError, detail: str, *, server: str, model: str) -> ModelError:
    code = read_code(error)
    answer: Any = error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode") or 0
    if code in _BAD_CREDENTIALS:
        return ModelRefused(t("model.bedrock_credentials", server=server, detail=detail))
    if key := _REFUSALS.get(code):
        return ModelRefused(t(key, server=server, model=model, detail=detail))
    message = t("model.http_status", server=server, status=status or code, detail=f"{code}: {detail}")
    if code in _PASSING or status in (408, 425, 429) or status >= 500:
        asked = parse_retry_after((answer.get("HTTPHeaders") or {}).get("retry-after"))
        return ModelUnavailable(message, retry_after_s=asked)
    return ModelRefused(message)
