"""What `doctor` asks of the CI systems whose tokens are set: is each there, and does it know who asks?"""

from collections.abc import Callable

from bifrost_flow.language import t
from connectors.checks import REQUEST_TIMEOUT_S, Check
from connectors.ci.access import CiAccess
from connectors.ci.github import open_github
from connectors.ci.gitlab import open_gitlab
from connectors.ci.http import CiClient, CiFault, Patience
from connectors.ci.jenkins import open_jenkins

_PATIENCE = Patience(REQUEST_TIMEOUT_S, max_retries=0, max_wait_s=0.0, max_bytes=0)
# Asked with a token, each answers whoever is known, and refuses who isn't; nothing is changed by it.
_ASKED: dict[str, tuple[Callable[[CiAccess, Patience], CiClient], str]] = {
    "github": (open_github, "/meta"),
    "gitlab": (open_gitlab, "/api/v4/user"),
    "jenkins": (open_jenkins, "/me/api/json?tree=id"),
}


def check_ci(name: str, access: CiAccess) -> Check:
    """Does the system `name` (github, gitlab or jenkins) take the token that is set for it? Without one
    nobody is asked: it is needed for `gha://` and the like alone."""
    known = {"github": access.github_token, "gitlab": access.gitlab_token, "jenkins": access.jenkins_token}
    opened, path = _ASKED[name]
    mend = t(f"doctor.{name}_mend")
    if not known[name]:
        return Check(name, "missing", t("doctor.not_configured"), mend)
    if name == "jenkins" and not (access.jenkins_url and access.jenkins_user):
        return Check(name, "failed", t("doctor.jenkins_lacks"), mend)
    client = opened(access, _PATIENCE)
    try:
        client.get_json(path)
    except CiFault as fault:
        return Check(name, "failed", str(fault), mend)
    finally:
        client.close()
    return Check(name, "ok", t("doctor.answers", url=client.shown))
