"""Take secrets out of text: same secret, same placeholder; what was taken out can't be found again from it.

Two sorts of rules. Tokens with a form of their own (a vendor's prefix, a key's armour) are taken wherever they stand.
Others are known by their place only (`password=…`, `Authorization: …`, `user:…@host`); there the value must look like a
secret rather than a word, a variable or a mask, since logs speak of passwords more often than they print them.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import hashlib
import re
from dataclasses import dataclass

# The version of the rules is part of every cached answer's key.
VERSION = "r1"


@dataclass(frozen=True, slots=True)
class Rule:
    """A form that secrets have; `group` is what is replaced."""

    name: str
    pattern: re.Pattern[str]
    hint: str  # lower case; text that holds it nowhere can't match. Empty: always looked for
    group: int = 0
    placed: bool = False  # known by its place: the value is looked at too


def _rule(name: str, pattern: str, hint: str = "", *, group: int = 0, placed: bool = False) -> Rule:
    return Rule(name, re.compile(pattern), hint, group, placed)


_SECRET_NAME = (
    r"(?:pass(?:word|wd|phrase|wort)|pwd|secret(?:[_-]?(?:access)?[_-]?key)?|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|account[_-]?key"
    r"|auth[_-]?token|access[_-]?token|refresh[_-]?token|id[_-]?token|session[_-]?token|client[_-]?secret|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|master[_-]?key|shared[_-]?access[_-]?key|deploy[_-]?key|credentials?|auth[_-]?key|bearer[_-]?token|_token|_secret|token)"
)
RULES = (
    _rule("private-key", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|(?:\s+[A-Za-z0-9+/=]{16,}(?![^\n]))*)", "private key"),
    _rule("putty-key", r"PuTTY-User-Key-File-[23]:[\s\S]*?Private-MAC: [0-9a-f]+", "putty-user-key"),
    _rule("age-key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b", "age-secret-key"),
    _rule("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", "eyj"),
    _rule("jwe", r"\beyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", "eyj"),
    _rule("aws-key-id", r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    _rule("aws-mws", r"\bamzn\.mws\.[0-9a-f-]{36}\b", "amzn.mws"),
    _rule("google-key", r"\bAIza[0-9A-Za-z_-]{35}", "aiza"),
    _rule("google-oauth", r"\bya29\.[0-9A-Za-z_-]{20,}", "ya29."),
    _rule("google-secret", r"\bGOCSPX-[0-9A-Za-z_-]{20,}", "gocspx"),
    _rule("google-refresh", r"\b1//0[0-9A-Za-z_-]{30,}", "1//0"),
    _rule("azure-key", r"(?i)\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}={0,2})", "accesskey", group=1),
    _rule("azure-key", r"(?i)\b(?:AccountKey)=([A-Za-z0-9+/]{40,}={0,2})", "accountkey", group=1),
    _rule("azure-sas", r"(?i)[?&]sig=([A-Za-z0-9%+/]{30,}={0,2})", "sig=", group=1),
    _rule("azure-secret", r"\b[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{34}", "8q~"),
    _rule("azure-devops", r"\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b", "azdo"),
    _rule("github-token", r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}", "gh"),
    _rule("github-token", r"\bgithub_pat_[A-Za-z0-9_]{22,}", "github_pat"),
    _rule("gitlab-token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{20,}", "gl"),
    _rule("gitlab-runner", r"\bGR1348941[A-Za-z0-9_-]{20}", "gr1348941"),
    _rule("slack-token", r"\bxox[abposre](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}", "xo"),
    _rule("slack-token", r"\bxapp-\d-[A-Za-z0-9-]{10,}", "xapp-"),
    _rule("slack-webhook", r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,})", "hooks.slack", group=1),
    _rule("discord-webhook", r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/([A-Za-z0-9_-]{50,})", "webhooks", group=1),
    _rule("discord-token", r"\b[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,}"),
    _rule("teams-webhook", r"https://[\w.-]+\.webhook\.office\.com/webhookb2/([\w@/-]{40,})", "webhookb2", group=1),
    _rule("stripe-key", r"\b(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,}|\bwhsec_[0-9A-Za-z+/]{24,}={0,2}", "_"),
    _rule("square-token", r"\bsq0(?:atp|csp|idp)-[0-9A-Za-z_-]{22,}|\bEAAA[A-Za-z0-9_-]{60}\b"),
    _rule("paypal-token", r"\baccess_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}", "access_token$"),
    _rule("shopify-token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", "shp"),
    _rule("openai-key", r"\bsk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,}", "sk-"),
    _rule("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{20,}", "sk-ant"),
    _rule("huggingface-token", r"\b(?:hf|api_org)_[A-Za-z]{30,}\b|\bhf_[A-Za-z0-9]{30,}\b", "_"),
    _rule("groq-key", r"\bgsk_[A-Za-z0-9]{40,}\b", "gsk_"),
    _rule("replicate-token", r"\br8_[A-Za-z0-9]{37}\b", "r8_"),
    _rule("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b|(?<=_authToken=)[^\s\"']{8,}", "npm"),
    _rule("npm-token", r"_authToken=([^\s\"'$]{8,})", "_authtoken", group=1),
    _rule("pypi-token", r"\bpypi-[A-Za-z0-9_-]{50,}", "pypi-"),
    _rule("rubygems-key", r"\brubygems_[0-9a-f]{48}\b", "rubygems_"),
    _rule("crates-token", r"\bcio[A-Za-z0-9]{32}\b", "cio"),
    _rule("nuget-key", r"\boy2[a-z0-9]{43}\b", "oy2"),
    _rule("docker-token", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}", "dckr_"),
    _rule("clojars-token", r"\bCLOJARS_[a-z0-9]{60}\b", "clojars_"),
    _rule("jfrog-key", r"\bAKCp[A-Za-z0-9]{60,}\b|\bcmVmdGtu[A-Za-z0-9]{56}\b"),
    _rule("digitalocean-token", r"\bdo[opr]_v1_[0-9a-f]{64}\b", "_v1_"),
    _rule("heroku-key", r"\bHRKU-[0-9A-Za-z_-]{36,}", "hrku-"),
    _rule("fly-token", r"\bFlyV1 fm\d[A-Za-z0-9_+/=,-]{40,}|\bfo1_[\w-]{43}", "f"),
    _rule("vercel-token", r"\bvc[pkiar]_[A-Za-z0-9]{24,}\b", "vc"),
    _rule("netlify-token", r"\bnfp_[A-Za-z0-9]{36,}\b", "nfp_"),
    _rule("cloudflare-key", r"\bv1\.0-[0-9a-f]{24}-[0-9a-f]{146}\b", "v1.0-"),
    _rule("vault-token", r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}", "hv"),
    _rule("terraform-token", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}", "atlasv1"),
    _rule("pulumi-token", r"\bpul-[0-9a-f]{40}\b", "pul-"),
    _rule("doppler-token", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]+\.)?[A-Za-z0-9]{40,}", "dp."),
    _rule("databricks-token", r"\bdapi[0-9a-f]{32}(?:-\d)?\b", "dapi"),
    _rule("grafana-token", r"\bgl(?:c|sa)_[A-Za-z0-9+/=_]{30,}", "gl"),
    _rule("newrelic-key", r"\bNR(?:AK|JS|II|AA)-[A-Za-z0-9]{19,}|\b[0-9a-f]{36}NRAL\b", "nr"),
    _rule("sentry-token", r"\bsntry[su]_[A-Za-z0-9+/=_]{30,}", "sntry"),
    _rule("sentry-dsn", r"https://([0-9a-f]{32})(?::[0-9a-f]{32})?@[\w.-]+/\d+", "@", group=1),
    _rule("datadog-key", r"(?i)\bdd[-_](?:api|app(?:lication)?)[-_]key[\"']?\s*[:=]\s*[\"']?([0-9a-f]{32,40})\b", "dd", group=1),
    _rule("sendgrid-key", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", "sg."),
    _rule("mailgun-key", r"\bkey-[0-9a-f]{32}\b", "key-"),
    _rule("mailchimp-key", r"\b[0-9a-f]{32}-us\d{1,2}\b", "-us"),
    _rule("twilio-key", r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    _rule("telegram-token", r"\b\d{8,10}:AA[A-Za-z0-9_-]{32,34}\b", ":aa"),
    _rule("atlassian-token", r"\bAT(?:ATT|CTT|BB|STT)[A-Za-z0-9+/=_-]{20,}", "at"),
    _rule("linear-key", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}", "lin_"),
    _rule("notion-token", r"\b(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,})\b", "_"),
    _rule("figma-token", r"\bfig[dou]_[A-Za-z0-9_-]{36,}", "fig"),
    _rule("postman-key", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b", "pmak-"),
    _rule("airtable-token", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}\b", "pat"),
    _rule("dropbox-token", r"\bsl\.(?:u\.)?[A-Za-z0-9_-]{100,}", "sl."),
    _rule("facebook-token", r"\bEAA[A-Za-z0-9]{80,}\b", "eaa"),
    _rule("buildkite-token", r"\bbk(?:ua|at|ct|jt|aj)_[0-9a-f]{40}\b", "bk"),
    _rule("circleci-token", r"\bCCI(?:PAT|PRJ)_[A-Za-z0-9]{20,}_[0-9a-f]{40}", "cci"),
    _rule("sonar-token", r"\bsq[pua]_[0-9a-f]{40}\b", "sq"),
    _rule("planetscale-token", r"\bpscale_(?:tkn|pw|oauth)_[\w.=-]{32,}", "pscale_"),
    _rule("supabase-key", r"\bsb[ps]_[A-Za-z0-9_]{20,}|\bsb_secret_[A-Za-z0-9_-]{20,}", "sb"),
    _rule("url-password", r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@\"'<>]*:([^\s/@\"'<>]{1,200})@(?=[\w\[])", "://", group=1, placed=True),
    _rule("url-token", r"\bhttps?://([A-Za-z0-9_-]{20,})@[\w.-]+", "@", group=1, placed=True),
    _rule("authorization", r"(?i)\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token|digest|apikey|negotiate|aws4-hmac-sha256)\s+([^\s\"',]{6,})", "authorization", group=1, placed=True),
    _rule("bearer", r"\b[Bb]earer\s+([A-Za-z0-9_~+/.=-]{20,})", "bearer", group=1, placed=True),
    _rule("cookie", r"(?i)\b(?:set-)?cookie[\"']?:\s*(?:[^\s=;]+=)?([^\s;\"']{16,})", "cookie:", group=1, placed=True),
    _rule("api-header", r"(?i)\bx-[\w-]*(?:api-key|auth|token|secret)[\w-]*[\"']?\s*[:=]\s*[\"']?([^\s\"',]{8,})", "x-", group=1, placed=True),
    _rule("curl-user", r"(?:\s-u|--user)[ =][\"']?[\w.@+-]+:((?!//)[^\s\"']{4,})", "-u", group=1, placed=True),
    _rule("curl-user", r"--user[ =][\"']?[\w.@+-]+:((?!//)[^\s\"']{4,})", "--user", group=1, placed=True),
    _rule("flag", r"(?i)(?:^|\s)--?(?:[\w-]*-)?(?:password|passwd|passphrase|secret|token|api-?key|access-key|secret-key|auth-token)(?:=|\s+)[\"']?([^\s\"'-][^\s\"']{5,})", "--", group=1, placed=True),
    _rule("assignment", rf"(?i)(?<![A-Za-z]){_SECRET_NAME}[\"'\]]*\s*(?:=>|:=|[=:])\s*(?:[\"'`]([^\"'`\n]{{4,200}})[\"'`]|([^\s\"'`,;&)}}\]<>]{{6,200}}))", "", group=1, placed=True),
    _rule("assignment", rf"(?i)\b[A-Z0-9]+_(?:{_SECRET_NAME}|key)[\"'\]]*\s*(?:=>|:=|[=:])\s*(?:[\"'`]([^\"'`\n]{{4,200}})[\"'`]|([^\s\"'`,;&)}}\]<>]{{6,200}}))", "_", group=1, placed=True),
    _rule("assignment", r"(?i)\b\w*pass[\"'\]]*\s*=\s*(?:[\"'`]([^\"'`\n]{4,200})[\"'`]|([^\s\"'`,;&)}\]<>]{6,200}))", "pass", group=1, placed=True),
    _rule("xml", rf"(?i)<({_SECRET_NAME})>([^<\s]{{4,}})</", "</", group=2, placed=True),
)  # fmt: skip

_NEAR_SECRET = ("pass", "pwd", "secret", "token", "key", "cred")
# What stands where a secret would, and is none.
_HARMLESS = re.compile(
    r"^(?:[*xX•.#-]{3,}|[$%<{(\[@!&].*|.*[$%]\{?\w+[}%]?$|\*+.*|true|false|null|none|nil|undefined|required|optional|missing|empty|invalid|redacted.*|masked.*|hidden.*"
    r"|changeme|string|str|int|bool|any|object|file|from|the|not|for|is|was|and|with|input|secret|password|token|key|value|default|example.*|your[-_ ].*|my[-_ ].*|placeholder.*|https?://[^@]*"
    r"|[\w.-]+\([^)]*\)?.*|(?:[A-Za-z]:)?[\\/.~][\w.\\/ -]*|[A-Za-z_]+(?:\.[A-Za-z_]+)+|\d{1,5}|[\d.:-]+|(?-i:[A-Z_]+))$",
    re.IGNORECASE,
)
_WORDY = re.compile(r"^[A-Za-z]+(?:[ _/.-][A-Za-z]+)*[.:!?]?$")
_MARK = "[redacted:"
_QUOTED_ONLY = ("assignment",)
_BY_LINE = ("assignment", "flag", "xml", "api-header")
_LINE_RULES = tuple(rule for rule in RULES if rule.name in _BY_LINE)


def redact_text(text: str) -> tuple[str, int]:
    """Return `text` with its secrets replaced by placeholders, and how many were."""
    count = 0
    lowered = text.lower()
    for rule in RULES:
        if rule.name not in _BY_LINE and rule.hint in lowered:
            text, found = _apply(rule, text)
            count += found
    if any(word in lowered for word in _NEAR_SECRET):
        # The widest rules are the slowest: they see the lines alone that hold one of their words.
        lines = text.split("\n")
        for number, line in enumerate(lines):
            low = line.lower()
            if any(word in low for word in _NEAR_SECRET):
                for rule in _LINE_RULES:
                    if rule.hint in low:
                        line, found = _apply(rule, line)
                        count += found
                lines[number] = line
        text = "\n".join(lines)
    return text, count


def _apply(rule: Rule, text: str) -> tuple[str, int]:
    count = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal count
        group = rule.group
        if rule.name in _QUOTED_ONLY and found[group] is None:
            group += 1
        secret = found[group]
        before = found.string[max(0, found.start() - len(_MARK)) : found.start()]
        if (
            not secret
            or _MARK in secret
            or before == _MARK
            or (rule.placed and not _is_secret(secret, group == 1, rule))
        ):
            return found[0]
        count += 1
        start, end = found.start(group) - found.start(), found.end(group) - found.start()
        return found[0][:start] + place_holder(rule.name, secret) + found[0][end:]

    return rule.pattern.sub(replace, text), count


def _is_secret(value: str, quoted: bool, rule: Rule) -> bool:
    """Tell whether a value in a secret's place is one: not a mask, a variable, a path, a type or a plain word."""
    if _HARMLESS.match(value):
        return False
    if rule.name in ("url-password", "curl-user", "authorization", "xml", "flag"):
        return True
    if _WORDY.match(value):
        # A plain word is a password only where quotes or the shape of code say that it is a value.
        return (
            quoted
            and rule.name == "assignment"
            and " " not in value
            and len(value) >= 8
            and not value.islower()
        )
    return len(value) >= 6 and " " not in value


def place_holder(name: str, secret: str) -> str:
    """Return what stands for `secret`: the same for the same, and nothing to find it by (6 digits of its hash)."""
    # A secret of several lines leaves as many: the lines of a text must stay those of the log.
    mark = hashlib.sha256(b"bifrost" + secret.encode()).hexdigest()[:6]
    return f"[redacted:{name}:{mark}]" + "\n" * secret.count("\n")
