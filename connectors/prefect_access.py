"""Who may be asked to run flows: a Prefect API beyond this machine only with its authentication set.

Whoever reaches a Prefect API without authentication can start flows with parameters of their choosing, and
read what others found. So such an API is refused before anything is sent to it.
"""

from urllib.parse import urlsplit

from bifrost_flow.errors import SettingsError
from bifrost_flow.language import t
from connectors.metrics import is_loopback
from connectors.prefect_server import find_prefect_setting


def check_prefect_access(url: str) -> None:
    """Check that the Prefect API at `url` is on this machine, or that we authenticate to it.

    An API key, which is what Prefect Cloud takes, goes over https alone: it opens a whole workspace. The
    string of a server of one's own may go over http, as it does within a cluster.

    Raises:
        SettingsError: it is neither.
    """
    address = urlsplit(url)
    if is_loopback(address.hostname or ""):
        return
    if find_prefect_setting("PREFECT_API_AUTH_STRING"):
        return
    shown = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    if not find_prefect_setting("PREFECT_API_KEY"):
        raise SettingsError(t("server.no_auth", url=shown))
    if address.scheme != "https":
        raise SettingsError(t("server.key_in_clear", url=shown))
