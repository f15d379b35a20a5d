"""Secrets that nobody ever had, in the forms that vendors document and in the places where logs hold them.

Values are drawn at random; their fixed parts are put together from pieces, so that no scanner takes this file for a leak.
Forms come from the vendors' documentation, places from what shells, clients, CI systems and libraries print.
"""

# ruff: noqa: E501 -- a place is read as a whole

import base64
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
ALNUM = UPPER + LOWER + DIGITS
HEX = "0123456789abcdef"
BASE32 = UPPER + "234567"
BASE64 = ALNUM + "+/"
URLSAFE = ALNUM + "-_"
LOWNUM = LOWER + DIGITS
UPNUM = UPPER + DIGITS

Make = Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class Planted:
    """A text of one or more lines with what must not be left of it."""

    kind: str
    text: str
    secrets: tuple[str, ...]


def draw(alphabet: str, length: int) -> Make:
    """Return a maker of texts of `length` characters."""
    return lambda random: "".join(random.choices(alphabet, k=length))


def join(*parts: str | Make) -> Make:
    """Return a maker that puts fixed and drawn parts together."""
    return lambda random: "".join(part if isinstance(part, str) else part(random) for part in parts)


def make_uuid(random: Random) -> str:
    """Return a UUID of version 4."""
    digits = draw(HEX, 32)(random)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def encode(text: str) -> str:
    """Return `text` as base64."""
    return base64.b64encode(text.encode()).decode()


def make_jwt(random: Random) -> str:
    """Return a signed token with header and claims."""
    head = encode('{"alg":"RS256","typ":"JWT","kid":"' + draw(ALNUM, 8)(random) + '"}').rstrip("=")
    body = encode('{"sub":"' + draw(DIGITS, 10)(random) + '","iss":"https://example.com","exp":1900000000}')
    return f"{head}.{body.rstrip('=')}.{draw(URLSAFE, 43)(random)}".replace("+", "-").replace("/", "_")


# Tokens that can be told wherever they stand.
TOKENS: dict[str, Make] = {
    "aws access key id": join("AK", "IA", draw(BASE32, 16)),
    "aws temporary key id": join("AS", "IA", draw(BASE32, 16)),
    "aws session token": join("IQoJ", "b3JpZ2lu", "X2Vj", draw(BASE64, 300), "=="),
    "aws bedrock key": join("ABSK", "QmVkcm9ja0FQSUtleS", draw(BASE64, 110)),
    "aws mws": join("amzn", ".mws.", make_uuid),
    "google api key": join("AI", "za", "Sy", draw(URLSAFE, 33)),
    "google access token": join("ya", "29.", "a0", draw(URLSAFE, 150)),
    "google client secret": join("GOC", "SPX-", draw(URLSAFE, 28)),
    "google refresh token": join("1/", "/0", draw(URLSAFE, 60)),
    "azure client secret": join(draw(ALNUM, 3), "8", "Q~", draw(ALNUM + "_.~-", 34)),
    "azure devops token": join(draw(ALNUM, 76), "AZ", "DO", draw(ALNUM, 4)),
    "azure openai key": join(draw(ALNUM, 52), "JQQ", "J99", draw(UPNUM, 26)),
    "alibaba key id": join("LT", "AI", "5t", draw(ALNUM, 18)),
    "tencent key id": join("AK", "ID", draw(ALNUM, 32)),
    "yandex api key": join("AQ", "VN", draw(URLSAFE, 36)),
    "scaleway access key": join("SC", "W", draw(UPNUM, 17)),
    "digitalocean token": join("dop", "_v1_", draw(HEX, 64)),
    "digitalocean oauth": join("doo", "_v1_", draw(HEX, 64)),
    "heroku key": join("HR", "KU-", "AA", draw(URLSAFE, 58)),
    "fly token": join("fm", "2_", draw(BASE64, 120), "=="),
    "vercel blob token": join("vercel", "_blob_rw_", draw(ALNUM, 16), "_", draw(ALNUM, 30)),
    "netlify token": join("nf", "p_", draw(ALNUM, 36)),
    "cloudflare origin key": join("v1", ".0-", draw(HEX, 24), "-", draw(HEX, 146)),
    "github classic": join("gh", "p_", draw(ALNUM, 36)),
    "github oauth": join("gh", "o_", draw(ALNUM, 36)),
    "github user": join("gh", "u_", draw(ALNUM, 36)),
    "github app": join("gh", "s_", draw(ALNUM, 36)),
    "github refresh": join("gh", "r_", draw(ALNUM, 76)),
    "github fine-grained": join("github", "_pat_", draw(ALNUM, 22), "_", draw(ALNUM, 59)),
    "gitlab personal": join("gl", "pat-", draw(URLSAFE, 20)),
    "gitlab routable": join("gl", "pat-", draw(URLSAFE, 27), ".", draw(LOWNUM, 9)),
    "gitlab deploy": join("gl", "dt-", draw(URLSAFE, 20)),
    "gitlab runner": join("gl", "rt-", draw(URLSAFE, 20)),
    "gitlab runner routable": join("gl", "rt-t1_", draw(URLSAFE, 27), ".", draw(LOWNUM, 9)),
    "gitlab job": join("gl", "cbt-", draw(HEX, 2), "_", draw(URLSAFE, 20)),
    "gitlab trigger": join("gl", "ptt-", draw(HEX, 40)),
    "gitlab feed": join("gl", "ft-", draw(URLSAFE, 20)),
    "gitlab mail": join("gl", "imt-", draw(LOWNUM, 25)),
    "gitlab agent": join("gl", "agent-", draw(URLSAFE, 50)),
    "gitlab oauth": join("gl", "oas-", draw(HEX, 64)),
    "gitlab scim": join("gl", "soat-", draw(URLSAFE, 20)),
    "gitlab flags": join("gl", "ffct-", draw(URLSAFE, 20)),
    "gitlab registration": join("GR13", "48941", draw(URLSAFE, 20)),
    "bitbucket app password": join("AT", "BB", draw(ALNUM, 32)),
    "bitbucket server": join("BB", "DC-", draw(BASE64, 44)),
    "atlassian token": join("AT", "ATT3", "xFfGF0", draw(URLSAFE, 170), "=", draw(UPNUM, 8)),
    "slack bot": join("xo", "xb-", draw(DIGITS, 12), "-", draw(DIGITS, 12), "-", draw(ALNUM, 24)),
    "slack user": join("xo", "xp-", draw(DIGITS, 12), "-", draw(DIGITS, 12), "-", draw(DIGITS, 12), "-", draw(HEX, 32)),
    "slack app": join("xa", "pp-1-A", draw(UPNUM, 10), "-", draw(DIGITS, 13), "-", draw(HEX, 64)),
    "slack refresh": join("xo", "xe-1-", draw(ALNUM, 146)),
    "slack rotated": join("xo", "xe.xo", "xp-1-", draw(ALNUM, 163)),
    "telegram bot": join(draw("123456789", 9), ":A", "A", draw(URLSAFE, 33)),
    "discord bot": join("M", "T", draw(ALNUM, 22), ".", draw(URLSAFE, 6), ".", draw(ALNUM, 38)),
    "stripe secret": join("sk", "_live_", draw(ALNUM, 24)),
    "stripe long": join("sk", "_live_", "51", draw(ALNUM, 97)),
    "stripe restricted": join("rk", "_live_", draw(ALNUM, 24)),
    "stripe test": join("sk", "_test_", draw(ALNUM, 24)),
    "stripe webhook": join("wh", "sec_", draw(ALNUM, 32)),
    "square token": join("sq0", "atp-", draw(URLSAFE, 22)),
    "square secret": join("sq0", "csp-", draw(URLSAFE, 43)),
    "square access": join("EA", "AA", "E", draw(URLSAFE, 59)),
    "paypal braintree": join("access", "_token$", "production$", draw(LOWNUM, 16), "$", draw(HEX, 32)),
    "facebook token": join("EA", "AC", draw(ALNUM, 160)),
    "shopify admin": join("shp", "at_", draw(HEX, 32)),
    "shopify secret": join("shp", "ss_", draw(HEX, 32)),
    "shippo": join("shippo", "_live_", draw(HEX, 40)),
    "plaid": join("access", "-production-", make_uuid),
    "flutterwave": join("FLW", "SECK_TEST-", draw(HEX, 32), "-X"),
    "razorpay": join("rzp", "_live_", draw(ALNUM, 14)),
    "easypost": join("EZ", "AK", draw(HEX, 32), draw(ALNUM, 22)),
    "duffel": join("duffel", "_live_", draw(URLSAFE, 43)),
    "openai project": join("sk", "-proj-", draw(URLSAFE, 74), "T3Blbk", "FJ", draw(URLSAFE, 74)),
    "openai legacy": join("sk", "-", draw(ALNUM, 20), "T3Blbk", "FJ", draw(ALNUM, 20)),
    "openai service": join("sk", "-svcacct-", draw(URLSAFE, 58), "T3Blbk", "FJ", draw(URLSAFE, 58)),
    "anthropic": join("sk", "-ant-", "api03-", draw(URLSAFE, 93), "AA"),
    "openrouter": join("sk", "-or-", "v1-", draw(HEX, 64)),
    "hugging face": join("h", "f_", draw(UPPER + LOWER, 34)),
    "groq": join("gs", "k_", draw(ALNUM, 52)),
    "xai": join("xa", "i-", draw(ALNUM, 80)),
    "perplexity": join("pp", "lx-", draw(ALNUM, 48)),
    "replicate": join("r", "8_", draw(ALNUM, 37)),
    "nvidia": join("nv", "api-", draw(URLSAFE, 64)),
    "langsmith": join("lsv2", "_pt_", draw(HEX, 32), "_", draw(HEX, 10)),
    "npm": join("np", "m_", draw(ALNUM, 36)),
    "pypi": join("py", "pi-", "AgEIcHlwaS5vcmc", draw(URLSAFE, 120)),
    "rubygems": join("ruby", "gems_", draw(HEX, 48)),
    "crates.io": join("ci", "o", draw(ALNUM, 32)),
    "nuget": join("oy", "2", draw(LOWNUM, 43)),
    "docker personal": join("dckr", "_pat_", draw(URLSAFE, 27)),
    "docker organisation": join("dckr", "_oat_", draw(URLSAFE, 32)),
    "clojars": join("CLO", "JARS_", draw(LOWNUM, 60)),
    "artifactory key": join("AKC", "p", draw(ALNUM, 69)),
    "artifactory reference": join("cmV", "mdGtu", draw(ALNUM, 56)),
    "vault service": join("hv", "s.", "CAES", draw(URLSAFE, 90)),
    "vault batch": join("hv", "b.", "AAAAAQ", draw(URLSAFE, 140)),
    "terraform cloud": join(draw(ALNUM, 14), ".atlas", "v1.", draw(URLSAFE, 67)),
    "pulumi": join("pu", "l-", draw(HEX, 40)),
    "doppler": join("dp", ".pt.", draw(ALNUM, 43)),
    "doppler service": join("dp", ".st.", "prd.", draw(ALNUM, 43)),
    "1password service": join("ops", "_eyJ", draw(ALNUM, 300)),
    "1password key": join("A", "3-", draw(UPNUM, 6), "-", draw(UPNUM, 11), "-", draw(UPNUM, 5), "-", draw(UPNUM, 5), "-", draw(UPNUM, 5)),
    "age": join("AGE-", "SECRET-KEY-", "1", draw("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "databricks": join("da", "pi", draw(HEX, 32)),
    "grafana service": join("gl", "sa_", draw(ALNUM, 32), "_", draw(HEX, 8)),
    "grafana cloud": join("gl", "c_", "eyJvIjoi", draw(ALNUM, 100), "="),
    "grafana legacy": join("eyJ", "rIjoi", draw(ALNUM, 90)),
    "new relic user": join("NR", "AK-", draw(UPNUM, 27)),
    "new relic insert": join("NR", "II-", draw(URLSAFE, 32)),
    "new relic licence": join(draw(HEX, 36), "NR", "AL"),
    "sentry organisation": join("sn", "trys_", "eyJpYXQiOjE2", draw(ALNUM, 100), "_", draw(BASE64, 43)),
    "sentry user": join("sn", "tryu_", draw(HEX, 64)),
    "dynatrace": join("dt0", "c01.", draw(BASE32, 24), ".", draw(BASE32, 64)),
    "sendgrid": join("S", "G.", draw(URLSAFE, 22), ".", draw(URLSAFE, 43)),
    "mailgun": join("ke", "y-", draw(HEX, 32)),
    "mailchimp": join(draw(HEX, 32), "-u", "s", draw("123456789", 2)),
    "brevo": join("xkey", "sib-", draw(HEX, 64), "-", draw(ALNUM, 16)),
    "resend": join("r", "e_", draw(ALNUM, 8), "_", draw(ALNUM, 24)),
    "twilio key": join("S", "K", draw(HEX, 32)),
    "linear": join("lin", "_api_", draw(ALNUM, 40)),
    "notion": join("nt", "n_", draw(DIGITS, 11), draw(ALNUM, 35)),
    "figma": join("fig", "d_", draw(URLSAFE, 40)),
    "postman": join("PM", "AK-", draw(HEX, 24), "-", draw(HEX, 34)),
    "airtable": join("pa", "t", draw(ALNUM, 14), ".", draw(HEX, 64)),
    "dropbox short": join("s", "l.", draw(URLSAFE, 136)),
    "typeform": join("tf", "p_", draw(URLSAFE, 59)),
    "hubspot app": join("pat", "-na1-", make_uuid),
    "buildkite": join("bk", "ua_", draw(HEX, 40)),
    "buildkite agent": join("bk", "ct_", draw(ALNUM, 40)),
    "circleci": join("CCI", "PAT_", draw(ALNUM, 22), "_", draw(HEX, 40)),
    "harness": join("pa", "t.", draw(URLSAFE, 22), ".", draw(ALNUM, 24), ".", draw(ALNUM, 20)),
    "octopus": join("AP", "I-", draw(UPNUM, 26)),
    "sonarqube project": join("sq", "p_", draw(HEX, 40)),
    "sonarqube user": join("sq", "u_", draw(HEX, 40)),
    "sourcegraph": join("sg", "p_", draw(HEX, 16), "_", draw(HEX, 40)),
    "prefect": join("pn", "u_", draw(ALNUM, 36)),
    "infracost": join("ic", "o-", draw(ALNUM, 32)),
    "openshift": join("sha", "256~", draw(URLSAFE, 43)),
    "tailscale": join("ts", "key-auth-", draw(ALNUM, 12), "CNTRL-", draw(ALNUM, 32)),
    "planetscale token": join("pscale", "_tkn_", draw(URLSAFE, 43)),
    "planetscale password": join("pscale", "_pw_", draw(URLSAFE, 43)),
    "supabase": join("sb", "p_", draw(HEX, 40)),
    "neon": join("na", "pi_", draw(LOWNUM, 64)),
    "aiven": join("AV", "NS_", draw(URLSAFE, 19)),
    "readme": join("rd", "me_", draw(LOWNUM, 70)),
    "maxmind": join(draw(ALNUM, 6), "_", draw(ALNUM, 29), "_m", "mk"),
    "jwt": make_jwt,
    "bcrypt hash": join("$2", "b$12$", draw(ALNUM + "./", 53)),
}  # fmt: skip

# Tokens that are told by the name that they are assigned to alone.
NAMED: dict[str, tuple[str, Make]] = {
    "aws secret key": ("AWS_SECRET_ACCESS_KEY", draw(BASE64, 40)),
    "azure storage key": ("AZURE_STORAGE_KEY", join(draw(BASE64, 86), "==")),
    "azure client secret by name": ("ARM_CLIENT_SECRET", draw(URLSAFE, 36)),
    "cloudflare token": ("CLOUDFLARE_API_TOKEN", draw(URLSAFE, 40)),
    "cloudflare global key": ("CF_API_KEY", draw(HEX, 37)),
    "heroku uuid": ("HEROKU_API_KEY", make_uuid),
    "linode": ("LINODE_TOKEN", draw(HEX, 64)),
    "scaleway secret": ("SCW_SECRET_KEY", make_uuid),
    "fastly": ("FASTLY_API_KEY", draw(URLSAFE, 32)),
    "ibm cloud": ("IBMCLOUD_API_KEY", draw(URLSAFE, 44)),
    "hetzner": ("HCLOUD_TOKEN", draw(ALNUM, 64)),
    "vultr": ("VULTR_API_KEY", draw(UPNUM, 36)),
    "codecov": ("CODECOV_TOKEN", make_uuid),
    "coveralls": ("COVERALLS_REPO_TOKEN", draw(ALNUM, 33)),
    "snyk": ("SNYK_TOKEN", make_uuid),
    "travis": ("TRAVIS_TOKEN", draw(ALNUM, 22)),
    "circleci old": ("CIRCLE_TOKEN", draw(HEX, 40)),
    "drone": ("DRONE_TOKEN", draw(ALNUM, 32)),
    "jenkins api": ("JENKINS_API_TOKEN", join("11", draw(HEX, 32))),
    "teamcity": ("TEAMCITY_TOKEN", draw(ALNUM, 60)),
    "sonar old": ("SONAR_TOKEN", draw(HEX, 40)),
    "datadog api": ("DD_API_KEY", draw(HEX, 32)),
    "datadog app": ("DATADOG_APP_KEY", draw(HEX, 40)),
    "pagerduty": ("PAGERDUTY_TOKEN", draw(URLSAFE, 20)),
    "opsgenie": ("OPSGENIE_API_KEY", make_uuid),
    "splunk hec": ("SPLUNK_HEC_TOKEN", make_uuid),
    "honeycomb": ("HONEYCOMB_API_KEY", draw(ALNUM, 22)),
    "algolia": ("ALGOLIA_ADMIN_KEY", draw(HEX, 32)),
    "cohere": ("COHERE_API_KEY", draw(ALNUM, 40)),
    "mistral": ("MISTRAL_API_KEY", draw(ALNUM, 32)),
    "azure openai by name": ("AZURE_OPENAI_API_KEY", draw(HEX, 32)),
    "wandb": ("WANDB_API_KEY", draw(HEX, 40)),
    "twilio auth": ("TWILIO_AUTH_TOKEN", draw(HEX, 32)),
    "messagebird": ("MESSAGEBIRD_ACCESS_KEY", draw(ALNUM, 25)),
    "postmark": ("POSTMARK_SERVER_TOKEN", make_uuid),
    "okta": ("OKTA_API_TOKEN", join("00", draw(URLSAFE, 40))),
    "auth0": ("AUTH0_CLIENT_SECRET", draw(URLSAFE, 64)),
    "launchdarkly": ("LAUNCHDARKLY_ACCESS_TOKEN", draw(URLSAFE, 40)),
    "contentful": ("CONTENTFUL_ACCESS_TOKEN", draw(URLSAFE, 43)),
    "mapbox secret": ("MAPBOX_SECRET_TOKEN", draw(ALNUM, 60)),
    "twitter bearer": ("TWITTER_BEARER_TOKEN", join("A" * 22, draw(ALNUM, 90))),
    "twitter secret": ("TWITTER_API_SECRET", draw(ALNUM, 50)),
    "asana": ("ASANA_CLIENT_SECRET", draw(HEX, 32)),
    "trello": ("TRELLO_API_TOKEN", draw(HEX, 64)),
    "zendesk": ("ZENDESK_API_TOKEN", draw(ALNUM, 40)),
    "intercom": ("INTERCOM_ACCESS_TOKEN", draw(URLSAFE, 60)),
    "coinbase": ("COINBASE_API_SECRET", draw(BASE64, 64)),
    "confluent": ("CONFLUENT_API_SECRET", draw(BASE64, 64)),
    "mongodb atlas": ("MONGODB_ATLAS_PRIVATE_KEY", make_uuid),
    "elastic": ("ELASTIC_API_KEY", join(draw(ALNUM, 58), "==")),
    "influx": ("INFLUX_TOKEN", join(draw(URLSAFE, 86), "==")),
    "django": ("SECRET_KEY", join(draw(LOWNUM, 22), "#k", draw(LOWNUM, 26))),
    "rails": ("SECRET_KEY_BASE", draw(HEX, 128)),
    "laravel": ("APP_KEY", join("base64:", draw(BASE64, 43), "=")),
    "encryption key": ("ENCRYPTION_KEY", draw(HEX, 64)),
    "webhook secret": ("WEBHOOK_SECRET", draw(HEX, 40)),
    "gradle publish": ("GRADLE_PUBLISH_SECRET", draw(ALNUM, 40)),
    "cargo registry": ("CARGO_REGISTRY_TOKEN", draw(ALNUM, 32)),
    "deploy key": ("FIREBASE_TOKEN", join("1/", draw(URLSAFE, 43))),
    "expo": ("EXPO_TOKEN", draw(URLSAFE, 40)),
    "chromatic": ("CHROMATIC_PROJECT_TOKEN", draw(HEX, 12)),
    "percy": ("PERCY_TOKEN", draw(HEX, 64)),
    "sauce": ("SAUCE_ACCESS_KEY", make_uuid),
    "browserstack": ("BROWSERSTACK_ACCESS_KEY", draw(ALNUM, 20)),
}  # fmt: skip

# {n}: a name in capitals, {c}: in small letters, {v}: the value.
NAMED_PLACES = (
    "{n}={v}",
    "export {n}={v}",
    'export {n}="{v}"',
    "declare -x {n}='{v}'",
    "+ {n}={v} make deploy",
    "env: {n}={v} HOME=/root SHELL=/bin/sh",
    "  {n}: {v}",
    "{c}: '{v}'",
    '  "{n}": "{v}",',
    '{{"level":"error","env":{{"{c}":"{v}","port":8080}}}}',
    r'body="{{\"{c}\":\"{v}\",\"id\":3}}"',
    r"msg='{{\\\"{c}\\\": \\\"{v}\\\"}}'",
    "{c} = {v}",
    '{c} = "{v}" -> (known after apply)',
    "docker run -e {n}={v} --rm app:latest",
    "docker build --build-arg {n}={v} .",
    "set {n}={v}",
    '$env:{n} = "{v}"',
    "ENV {n} {v}",
    "kubectl create secret generic app --from-literal={n}={v}",
    "GET /v1/items?page=2&{c}={v}&limit=10 HTTP/1.1 401",
    "error: request failed with {c}={v}: 403 Forbidden",
    "{{'{c}': '{v}', 'retries': 3}}",
    ':{c}=>"{v}", :retries=>3',
    "Config(host=db, {c}={v}, timeout=30)",
    "app --{d}={v} --verbose",
    "app --{d} {v} --verbose",
    '{{"name": "{n}", "value": "{v}"}}',
    "-D{c}={v} -Xmx2g",
    "<{c}>{v}</{c}>",
)
BARE_PLACES = (
    "fatal: could not authenticate with {v}",
    "Error: invalid token {v}.",
    "Authorization: Bearer {v}",
    "> authorization: token {v}",
    "curl -H 'X-Api-Key: {v}' https://api.example.com/v1",
    "the server refused ({v})",
    "token '{v}' was rejected",
    'got "{v}", want a string',
    "{v}",
    "2026-01-02T03:04:05Z ERROR auth failed for key {v} after 3 tries",
    '["login", "{v}"]',
    "\x1b[31m{v}\x1b[0m was not accepted",
    "https://api.example.com/v1/me?auth={v}&x=1",
)

WORDS = ("hunter2", "correcthorse", "swordfish", "letmein", "trustno1", "dragonfly", "opensesame", "qwertyuiop", "iloveyou", "mysecretpw")  # fmt: skip


def make_password(random: Random) -> str:
    """Return a password as people and generators make them: a word, letters and digits, or with signs."""
    sort = random.randrange(5)
    if sort == 0:
        return random.choice(WORDS)
    if sort == 1:
        return random.choice(
            (
                "p@ss:w0rd!#/",
                "S3cr3t!pass",
                "Tr0ub4dor&3",
                "x#9$kQ!2v",
                "pa+ss/w0rd=",
                "Zx!7_(q2m)",
                "ab^c%1?d*e",
            )
        )
    if sort == 2:
        return draw(ALNUM, random.randrange(8, 20))(random)
    if sort == 3:
        return draw(LOWER, 5)(random) + draw(DIGITS, random.randrange(2, 4))(random)
    return draw(ALNUM + "!@^*_+-.", random.randrange(10, 18))(random) + draw(DIGITS, 1)(random)


def make_plain(random: Random) -> str:
    """Return a password without signs that the place would have to escape."""
    return random.choice((random.choice(WORDS), draw(ALNUM, 12)(random) + "7", draw(LOWNUM, 9)(random) + "4"))


# {p}: any password, {q}: one without special signs, {u}: one escaped for a URL, {b}: `user:password` in base64, {k}: {q} in base64
PASSWORD_PLACES: dict[str, tuple[str, ...]] = {
    "key=value": ("password={p}", "DB_PASSWORD={p}", "user=app password={p} host=db1", "MYSQL_PWD={p}", "PGPASSWORD={p} psql -h db", "db.password={p}"),
    "quoted value": ('password="{p}"', "password = '{p}'", 'PASSWORD="{p}"', "passwd='{p}'", 'db_pass = "{p}"'),
    "yaml": ("password: {p}", "  db_password: {p}", '  password: "{p}"', "  - password: '{p}'", "    POSTGRES_PASSWORD: {p}"),
    "json": ('{{"user": "app", "password": "{p}"}}', '"password" : "{p}"', '{{"dbPassword":"{p}","port":1}}', '"passphrase": "{p}",'),
    "json in json": (r'{{"log":"{{\"password\": \"{p}\"}}"}}', r"data: \"passwd\":\"{p}\",", r'"{{\\\"password\\\":\\\"{p}\\\"}}"'),
    "ruby hash": (':password=>"{p}"', '{{"password"=>"{p}", "id"=>3}}', "password: '{p}', host: 'x'"),
    "python repr": ("{{'password': '{p}'}}", "connect(user='app', password='{p}')", "Settings(password='{p}')"),
    "prose": ("the password is '{p}'", 'initial password: "{p}"', "passwd is hunter2", "pwd = {p}", "root password is Xk29fjq81"),
    "flag": ("app --password {p} --force", "app --password={p}", "app --db-password '{p}'", "gpg --batch --passphrase {p} -d x.gpg", "wget --http-password={p} https://x.example"),
    "xml": ("<password>{q}</password>", "<Password>{q}</Password>", '<add key="ClearTextPassword" value="{q}" />', '<server username="ci" password="{q}"/>', "<passphrase>{q}</passphrase>"),
    "docker login": ("docker login -u ci -p {p} registry.example.com", "docker login registry.example.com -u ci --password {p}", "helm registry login -u ci -p {p} x.example.com"),
    "mysql": ("mysql -uroot -p{q} -h db app", "mysqldump --user=root -p{q} app > x.sql", "mysqladmin -u root --password={q} ping"),
    "curl user": ("curl -u admin:{p} https://x.example.com/api", "curl --user 'admin:{p}' https://x.example.com", 'curl -fsSu "ci:{p}" https://x.example.com', "+ curl -sSL -u deploy:{q} -T f.tgz https://x.example.com"),
    "basic auth in url": ("https://ci:{u}@git.example.com/a/b.git", "fatal: unable to access 'https://bot:{u}@git.example.com/a.git/'", "http://admin:{p}@db.example.com:8080/path", "proxy=http://user:{q}@10.0.0.1:3128"),
    "postgres url": ("postgres://app:{u}@db.example.com:5432/app", "postgresql+asyncpg://app:{q}@db:5432/app?sslmode=require", "DATABASE_URL=postgres://app:{p}@db.example.com/app"),
    "mysql url": ("mysql://root:{u}@127.0.0.1:3306/app", "mysql+pymysql://root:{q}@db/app"),
    "mongodb url": ("mongodb://root:{u}@m1.example.com,m2.example.com:27017/admin", "mongodb+srv://app:{q}@c0.example.net/test?retryWrites=true"),
    "redis url": ("redis://:{u}@cache:6379/0", "rediss://default:{q}@cache.example.com:6380"),
    "amqp url": ("amqp://guest:{u}@mq:5672/%2F", "amqps://app:{q}@mq.example.com/vh"),
    "smtp url": ("smtps://mailer:{u}@smtp.example.com:465", "ftp://up:{q}@files.example.com/x"),
    "jdbc": ("jdbc:postgresql://db:5432/app?user=app&password={q}", "jdbc:mysql://db/app?user=app&password={q}&useSSL=false", "jdbc:sqlserver://db:1433;databaseName=app;user=sa;password={q};encrypt=true"),
    "ado.net": ("Server=db,1433;Database=app;User Id=sa;Password={q};Encrypt=True", "Data Source=db;User ID=sa;Pwd={q};", 'ConnectionString="Host=db;Username=app;Password={q};Port=5432"'),
    "odbc": ("Driver={{SQL Server}};Server=db;UID=sa;PWD={q};", "DSN=app;UID=a;PWD={q}"),
    "libpq": ("host=db port=5432 user=app password={p} dbname=app", "could not connect: dbname=app user=x password={q} connect_timeout=2"),
    "npmrc": ("//registry.example.com/:_authToken={k}{k}", "_auth={b}", "//npm.example.com/:_password={k}"),
    "pypirc": ("[pypi]\nusername = ci\npassword = {p}", "[distutils]\n  password: {p}"),
    "netrc": ("machine git.example.com login ci password {p}", "machine x.example.com\n  login ci\n  password {p}"),
    "kubernetes secret": ("kind: Secret\ndata:\n  username: {k}\n  dsn: {k}", 'apiVersion: v1\ndata:\n  config.txt: {k}\nkind: Secret\n', "  password: {k}"),
    "kubectl": ("kubectl create secret generic db --from-literal=password={p}", "kubectl create secret docker-registry r --docker-username=ci --docker-password={p}"),
    "helm": ("helm upgrade app ./c --set auth.password={q} --set x=1", "helm install db x/db --set-string postgresqlPassword={q}"),
    "terraform": ('  + password = "{p}"', '      ~ admin_password = "{p}" -> "{p}"', 'db_password = "{p}"'),
    "ansible": ("ansible_ssh_pass={q}", "ansible_become_password: {p}", 'ok: [h1] => {{"changed": false, "password": "{p}"}}'),
    "basic header": ("Authorization: Basic {b}", "> proxy-authorization: Basic {b}", "git config http.extraheader 'AUTHORIZATION: basic {b}'", '"Authorization": "Basic {b}"'),
    "docker config": ('{{"auths":{{"r.example.com":{{"auth":"{b}"}}}}}}', '"auth": "{b}"'),
    "sql": ("CREATE USER app WITH PASSWORD '{q}';", "CREATE USER 'a'@'%' IDENTIFIED BY '{q}';", "ALTER ROLE app WITH LOGIN ENCRYPTED PASSWORD '{q}'", "SET PASSWORD = '{q}'"),
    "sshpass": ("sshpass -p {p} ssh ci@h1", "+ sshpass -p '{q}' scp a b:"),
    "redis": ("redis-cli -h cache -a {q} ping", "requirepass {q}", "masterauth {q}"),
    "windows": ("net use Z: \\\\srv\\x /user:ci /password:{q}", '$p = ConvertTo-SecureString "{q}" -AsPlainText -Force', "msdeploy -dest:auto,userName=ci,password={q},authType=Basic"),
    "keystore": ("keytool -importkeystore -storepass {q} -alias a", "-Dsigning.keyPassword={q}", "signing.password={q}", "android.injected.signing.store.password={q}"),
    "properties": ("spring.datasource.password={p}", "javax.net.ssl.trustStorePassword={q}", "sonar.password={q}", "mail.smtp.pass={q}"),
    "query": ("POST /login?user=a&password={q}&next=/ HTTP/1.1", "GET /cb?passwd={q} 200"),
    "form": ("grant_type=password&username=a&password={q}", "username=ci&passwd={q}&submit=1"),
    "struct dump": ("{{Host:db Port:5432 Password:{q} User:app}}", "Config {{ password: \"{q}\", host: \"db\" }}", "DbConfig(password={q}, host=db)", "[host=db, password={q}]"),
    "html escaped": ("&quot;password&quot;:&quot;{q}&quot;",),
    "url escaped": ("%22password%22%3A%22{q}%22", "redirect=%3Fpassword%3D{q}%26x%3D1"),
    "ldap": ("ldapsearch -x -D cn=admin -w {q} -b dc=x", "ldapadd -D cn=admin,dc=x -w {q} -f a.ldif", "bind_pw: {q}", "bindpw {q}"),
    "smb": ("smbclient //srv/x -U ci%{q}", "mount -t cifs -o username=ci,password={q} //srv/x /mnt"),
    "twine": ("twine upload -u ci -p {p} dist/*", "TWINE_PASSWORD={p} twine upload dist/*"),
    "keychain": ("security unlock-keychain -p {q} build.keychain", "security import c.p12 -k k -P {q} -A"),
    "openssl": ("openssl aes-256-cbc -d -in a -out b -pass pass:{q}", "openssl pkcs12 -in a.p12 -passin pass:{q} -nodes"),
}  # fmt: skip

COOKIE_PLACES = (
    "Cookie: JSESSIONID={v}; lang=en",
    "Set-Cookie: sessionid={v}; Path=/; HttpOnly",
    "cookie: theme=dark; connect.sid=s%3A{v}.x",
    "PHPSESSID={v}",
    '"session_id": "{v}"',
    "laravel_session={v}",
)
HEADER_PLACES = (
    "X-Api-Key: {v}", "x-auth-token: {v}", "PRIVATE-TOKEN: {v}", "JOB-TOKEN: {v}", "X-Vault-Token: {v}", "DD-API-KEY: {v}", "Api-Key: {v}",
    "Ocp-Apim-Subscription-Key: {v}", "x-functions-key: {v}", '"X-Shopify-Access-Token": "{v}"', "Authorization: {v}", "Authorization: ApiKey {v}",
    "curl -H 'Authorization: Bearer {v}' https://x", "-H \"PRIVATE-TOKEN: {v}\"", "'x-amz-security-token': '{v}'", "Authorization: Splunk {v}",
)  # fmt: skip
LINK_PLACES: dict[str, tuple[str, Make]] = {
    "slack webhook": ("https://hooks." + "slack.com/services/{v}", join("T", draw(UPNUM, 8), "/B", draw(UPNUM, 10), "/", draw(ALNUM, 24))),
    "discord webhook": ("https://discord" + ".com/api/webhooks/1234567890123456/{v}", draw(URLSAFE, 68)),
    "teams webhook": ("https://x.webhook." + "office.com/webhookb2/{v}", join(make_uuid, "@", make_uuid, "/IncomingWebhook/", draw(HEX, 32), "/", make_uuid)),
    "azure sas": ("https://x.blob.example.net/c?sv=2022-11-02&sp=r&sig={v}&se=2026", join(draw(ALNUM, 43), "%3D")),
    "aws signed url": ("https://b.s3.example.com/k?X-Amz-Expires=60&X-Amz-Signature={v}", draw(HEX, 64)),
    "gcs signed url": ("https://storage.example.com/b/o?X-Goog-Signature={v}&x=1", draw(HEX, 256)),
    "function key": ("https://x.example.net/api/f?code={v}", join(draw(URLSAFE, 52), "==")),
    "token as user": ("https://{v}@git.example.com/a/b.git", draw(HEX, 40)),
    "token as password": ("https://x-access-token:{v}@git.example.com/a/b", join("gh", "s_", draw(ALNUM, 36))),
    "oauth2 in url": ("https://oauth2:{v}@gitlab.example.com/a/b.git", draw(URLSAFE, 20)),
    "sentry dsn": ("https://{v}@o1.ingest.example.io/42", draw(HEX, 32)),
    "telegram url": ("https://api.telegram" + ".org/bot{v}/sendMessage", join(draw("123456789", 9), ":A", "A", draw(URLSAFE, 33))),
    "azure storage string": ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={v};EndpointSuffix=core.example.net", join(draw(BASE64, 86), "==")),
    "azure service bus": ("Endpoint=sb://x.example.net/;SharedAccessKeyName=Root;SharedAccessKey={v}", join(draw(BASE64, 43), "=")),
    "azure sql": ("Server=tcp:x.example.net,1433;User ID=a;Password={v};Encrypt=True;", join("Aa1", draw(ALNUM, 14))),
    "google key in query": ("GET https://maps.example.com/api?key={v}&q=1", join("AI", "za", draw(URLSAFE, 35))),
    "aws pair": ("aws creds " + "AK" + "IA" + "QWERTYUIOP234567 {v}", join("aB3", draw(BASE64, 37))),
    "aws configure": ("aws configure set aws_secret_access_key {v}", draw(BASE64, 40)),
}  # fmt: skip


def make_keys(random: Random) -> Iterator[Planted]:
    """Yield private keys in their armour: over lines, with a prefix on each, escaped on one line, within JSON, cut off."""
    kinds = ("RSA PRIVATE", "PRIVATE", "EC PRIVATE", "OPENSSH PRIVATE", "ENCRYPTED PRIVATE", "DSA PRIVATE")
    for kind in kinds:
        width = 70 if kind.startswith("OPEN") else 64
        lines = [draw(BASE64, width)(random) for _ in range(random.randrange(3, 12))] + [
            draw(BASE64, 22)(random) + "=="
        ]
        whole = ["-----BEGIN " + kind + " KEY-----", *lines, "-----END " + kind + " KEY-----"]
        stamp = "2026-01-02T03:04:05.1234567Z "
        yield Planted(f"{kind.lower()} key", "\n".join(whole), tuple(lines))
        yield Planted(f"{kind.lower()} key, stamped", "\n".join(stamp + line for line in whole), tuple(lines))
        yield Planted(
            f"{kind.lower()} key, indented", "\n".join("    " + line for line in whole), tuple(lines)
        )
        yield Planted(f"{kind.lower()} key, escaped", 'KEY="' + "\\n".join(whole) + '\\n"', tuple(lines))
        yield Planted(f"{kind.lower()} key, json", '{"type": "service_account", "private_key": "' + "\\n".join(whole) + '\\n", "client_email": "a@b"}', tuple(lines))  # fmt: skip
        yield Planted(
            f"{kind.lower()} key, twice escaped",
            r"{\"private_key\":\"" + r"\\n".join(whole) + r"\"}",
            tuple(lines),
        )
        yield Planted(f"{kind.lower()} key, blanks", " ".join(whole), tuple(lines))
        yield Planted(f"{kind.lower()} key, end cut", "\n".join(whole[:-1]), tuple(lines))
        yield Planted(f"{kind.lower()} key, start cut", "\n".join(whole[1:]), tuple(lines))
        yield Planted(
            f"{kind.lower()} key, base64", "tls.key: " + encode("\n".join(whole)), (encode("\n".join(whole)),)
        )
    lines = [draw(BASE64, 64)(random) for _ in range(6)] + ["=" + draw(ALNUM, 4)(random)]
    block = [
        "-----BEGIN PGP PRIVATE" + " KEY BLOCK-----",
        "Version: GnuPG v2",
        "",
        *lines,
        "-----END PGP PRIVATE" + " KEY BLOCK-----",
    ]
    yield Planted("pgp key", "\n".join(block), tuple(lines))
    putty = [
        "PuTTY-User-Key-File-3: ssh-ed25519",
        "Encryption: none",
        "Comment: a",
        "Private-Lines: 1",
        lines[0],
        "Private-MAC: " + draw(HEX, 64)(random),
    ]
    yield Planted("putty key", "\n".join(putty), (lines[0],))


def plant_secrets(seed: int, each: int) -> Iterator[Planted]:
    """Yield `each` texts of each kind, and the private keys; the same for the same seed."""
    random = Random(seed)
    for kind, make in TOKENS.items():
        for _ in range(each):
            value = make(random)
            name = random.choice(("API_TOKEN", "DEPLOY_TOKEN", "SERVICE_KEY", "SECRET_KEY"))
            place = random.choice(BARE_PLACES + NAMED_PLACES)
            yield Planted(kind, _fill(place, name, value), (value,))
    for kind, (name, make) in NAMED.items():
        for _ in range(each):
            value = make(random)
            yield Planted(kind, _fill(random.choice(NAMED_PLACES), name, value), (value,))
    for kind, places in PASSWORD_PLACES.items():
        for number in range(max(each, 2 * len(places))):
            yield _plant_password(kind, places[number % len(places)], random)
    for place in COOKIE_PLACES:
        for _ in range(each):
            value = draw(LOWNUM, 26)(random) + "a1"
            yield Planted("cookie", place.format(v=value), (value,))
    for place in HEADER_PLACES:
        for _ in range(each):
            value = draw(ALNUM, random.randrange(20, 44))(random) + "b2"
            yield Planted("header", place.format(v=value), (value,))
    for kind, (place, make) in LINK_PLACES.items():
        for _ in range(each):
            value = make(random)
            yield Planted(kind, "error: " + place.format(v=value), (value,))
    yield from make_keys(random)


def _fill(place: str, name: str, value: str) -> str:
    if ">" in place[:5]:
        value = value.replace("<", "")
    return place.format(n=name, c=name.lower(), d=name.lower().replace("_", "-"), v=value)


def _plant_password(kind: str, place: str, random: Random) -> Planted:
    any_one, plain = make_password(random), make_plain(random)
    if ("'{p}'" in place or '"{p}' in place or "{p}\\" in place) and set(any_one) & set("'\"\\"):
        any_one = plain
    made = {
        "p": any_one,
        "q": plain,
        "u": quote(any_one, safe=""),
        "b": encode("ci-bot:" + any_one),
        "k": encode(plain + "-" + draw(ALNUM, 6)(random)),
    }
    secrets = tuple(text for key, text in made.items() if "{" + key + "}" in place)
    if "hunter2" in place:
        secrets = ("hunter2",)
    if "Xk29fjq81" in place:
        secrets = ("Xk29fjq81",)
    return Planted(kind, place.format(**made), secrets)
