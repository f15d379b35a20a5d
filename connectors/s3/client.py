"""A client of S3, and its errors in our terms.

Retries are ours alone (`total_max_attempts=1`), as for Bedrock: they go on where a body broke off, and
neither Ctrl-C nor a stop of the run waits for them.
"""

import errno
import threading
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore import exceptions as boto
from botocore.config import Config

# urllib3's own: botocore lets them through while a body is read.
from botocore.httpsession import ProtocolError, URLLib3ReadTimeoutError
from botocore.parsers import ResponseParserError

from bifrost_flow.language import t
from connectors.s3.access import S3Access, split_url

MAX_CONNECTIONS = 64
_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0

# All that a call, or the reading of its body, can raise; the last three are not botocore's own.
VENDOR_ERRORS = (
    boto.BotoCoreError,
    boto.ClientError,
    ResponseParserError,
    ProtocolError,
    URLLib3ReadTimeoutError,
)

_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError)
_STALE_CREDENTIALS = (
    *(boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.SSOError, boto.MetadataRetrievalError),
)
_NOBODY_THERE = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)

# What each of S3's codes means here: the text to show, and the number of the error that is like it.
_MEANINGS: dict[str, tuple[str, int]] = {
    **dict.fromkeys(("NoSuchKey", "404", "NotFound", "NoSuchVersion"), ("s3.gone", errno.ENOENT)),
    "NoSuchBucket": ("s3.no_bucket", errno.ENXIO),
    **dict.fromkeys(("PreconditionFailed", "412", "InvalidRange", "416"), ("s3.changed", errno.ESTALE)),
    **dict.fromkeys(
        ("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"),
        ("s3.denied", errno.EACCES),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
        ("s3.expired", errno.EACCES),
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity"),
        ("s3.bad_credentials", errno.EACCES),
    ),
    "RequestTimeTooSkewed": ("s3.skewed", errno.EACCES),
    **dict.fromkeys(
        ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307"),
        ("s3.wrong_region", errno.ENXIO),
    ),
    "IllegalLocationConstraintException": ("s3.wrong_region", errno.ENXIO),
    "InvalidObjectState": ("s3.archived", errno.EACCES),
    "InvalidBucketName": ("s3.bad_bucket", errno.EINVAL),
}
_PASSING = frozenset(
    {
        *("SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "Throttling", "BadDigest"),
        *("ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted"),
        *("TooManyRequests", "ConditionalRequestConflict", "IncompleteBody"),
    }
)


_making = threading.Lock()


def open_client(access: S3Access) -> Any:
    """Return a client of S3, for any number of threads; nobody is asked yet.

    Raises:
        OSError: the profile does not exist, or AWS's own files or variables are wrong.
    """
    with _making:
        return _make_client(access)


@lru_cache(maxsize=8)
def _make_client(access: S3Access) -> Any:
    styled = access.endpoint is not None if access.path_style is None else access.path_style
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=MAX_CONNECTIONS,
        s3={"addressing_style": "path" if styled else "auto"},
        # Sums in trailers are AWS's alone: other servers refuse them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        parameter_validation=False,
        signature_version=UNSIGNED if access.anonymous else None,
        # Proxies of the environment never stand between this machine and itself.
        proxies={} if access.endpoint and _is_loopback(access.endpoint) else None,
    )
    try:
        session = botocore.session.Session(profile=access.profile)
        return session.create_client(
            "s3", region_name=access.region, endpoint_url=access.endpoint, config=config
        )
    except (boto.BotoCoreError, ValueError) as error:
        raise OSError(errno.EINVAL, t("s3.unusable", reason=error)) from error


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def may_pass(error: Exception) -> bool:
    """Tell whether the same call may succeed later."""
    if isinstance(error, boto.ClientError):
        return (
            _read_code(error) in _PASSING or _read_status(error) in (408, 429) or _read_status(error) >= 500
        )
    if isinstance(error, boto.SSLError | boto.ProxyConnectionError):
        return False
    return isinstance(
        error,
        boto.HTTPClientError
        | boto.ResponseStreamingError
        | boto.IncompleteReadError
        | ProtocolError
        | URLLib3ReadTimeoutError
        | ResponseParserError,
    )


def is_unreachable(error: Exception) -> bool:
    """Tell whether nobody answered at all."""
    return isinstance(error, _NOBODY_THERE)


def read_retry_after(error: Exception) -> float:
    """Return for how many seconds the server asked to be left alone, 0 if it did not."""
    if isinstance(error, boto.ClientError):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
        asked = str(headers.get("retry-after", ""))
        return float(asked) if asked.isdigit() else 0.0
    return 0.0


def translate_error(error: Exception, url: str, access: S3Access) -> OSError:
    """Return what one of `VENDOR_ERRORS` means, with what to do; `url` is what was asked for."""
    bucket, _ = split_url(url)
    server = access.endpoint or "AWS"
    detail = _read_detail(error)
    if isinstance(error, boto.ClientError):
        key, number = _MEANINGS.get(_read_code(error), ("s3.refused", errno.EIO))
        region = (error.response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}).get(
            "x-amz-bucket-region"
        ) or error.response.get("Error", {}).get("Region", "?")
        return OSError(number, t(key, bucket=bucket, server=server, detail=detail, region=region))
    if isinstance(error, _NO_CREDENTIALS):
        return PermissionError(errno.EACCES, t("s3.no_credentials"))
    if isinstance(error, _STALE_CREDENTIALS):
        return PermissionError(errno.EACCES, t("s3.expired", detail=detail))
    if isinstance(error, _NOBODY_THERE):
        return OSError(errno.ECONNREFUSED, t("s3.no_answer", server=server))
    if isinstance(error, boto.ParamValidationError):
        return OSError(errno.EINVAL, t("s3.bad_bucket", bucket=bucket))
    return OSError(errno.EIO, t("s3.broke_off", server=server, detail=detail))


def _read_code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _read_status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _read_detail(error: Exception) -> str:
    """Return what `error` says, on one line and shortened."""
    said = ""
    if isinstance(error, boto.ClientError):
        message = error.response.get("Error", {}).get("Message") or ""
        said = f"{_read_code(error)}: {message}" if message else _read_code(error)
    return " ".join((said or str(error) or type(error).__name__).split())[:300].rstrip(".")
