"""Redaction: hundreds of kinds of secrets go, what only looks like them stays."""

# ruff: noqa: E501 -- a text is read as a whole

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifrost_flow.evidence.redact import redact_text, redact_texts
from tests.made_up_secrets import Planted, plant_secrets

# Made up for this test. Put together from parts, so that no scanner takes this file for a leak.
ALNUM = "aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zA3bC6dE9fG2hJ5kL8mN1pQ4rS7tU0vW3xY6zB9cD2eF5gH8jK1mN4pQ7rS0tU3vW6xY9z"
HEX = "0123456789abcdef" * 10
SECRETS = {
    "aws key id": "AK" + "IA" + "QWERTYUIOP234567",
    "aws secret": "aws_secret_access_key = " + ALNUM[:40],
    "google key": "AI" + "za" + ALNUM[:35],
    "google oauth": "ya29" + "." + ALNUM[:60],
    "google client": "GOC" + "SPX-" + ALNUM[:28],
    "azure storage": "DefaultEndpointsProtocol=https;AccountKey=" + ALNUM[:86] + "==",
    "azure sas": "https://x.blob.example.net/c?sv=2020&sig=" + ALNUM[:43] + "%3D",
    "azure client": ALNUM[:3] + "8Q~" + ALNUM[:34],
    "github": "gh" + "p_" + ALNUM[:36],
    "github app": "gh" + "s_" + ALNUM[:36],
    "github fine": "github" + "_pat_" + ALNUM[:60],
    "gitlab": "gl" + "pat-" + ALNUM[:20],
    "gitlab ci": "gl" + "cbt-" + ALNUM[:22],
    "slack bot": "xo" + "xb-123456789012-" + ALNUM[:24],
    "slack hook": "https://hooks.slack.com/services/" + "T0000/B0000/" + ALNUM[:24],
    "stripe": "sk_" + "live_" + ALNUM[:24],
    "square": "sq0" + "atp-" + ALNUM[:22],
    "shopify": "shp" + "at_" + HEX[:32],
    "openai": "sk-" + "proj-" + ALNUM[:48],
    "anthropic": "sk-" + "ant-api03-" + ALNUM[:60],
    "hugging face": "hf" + "_" + ALNUM[:34],
    "npm": "np" + "m_" + ALNUM[:36],
    "npmrc": "//registry.example/:_auth" + "Token=" + ALNUM[:30],
    "pypi": "py" + "pi-" + ALNUM[:80],
    "rubygems": "ruby" + "gems_" + HEX[:48],
    "docker": "dckr" + "_pat_" + ALNUM[:27],
    "digitalocean": "dop" + "_v1_" + HEX[:64],
    "vault": "hv" + "s." + ALNUM[:24],
    "terraform": ALNUM[:14] + ".atlas" + "v1." + ALNUM[:67],
    "doppler": "dp" + ".pt." + ALNUM[:43],
    "databricks": "da" + "pi" + HEX[:32],
    "grafana": "gl" + "sa_" + ALNUM[:32] + "_" + HEX[:8],
    "new relic": "NR" + "AK-" + ALNUM[:27].upper(),
    "sentry": "sn" + "trys_" + ALNUM[:60],
    "sendgrid": "S" + "G." + ALNUM[:22] + "." + ALNUM[:43],
    "mailgun": "ke" + "y-" + HEX[:32],
    "mailchimp": HEX[:32] + "-us" + "12",
    "twilio": "S" + "K" + HEX[:32],
    "telegram": "123456789:A" + "A" + ALNUM[:33],
    "atlassian": "AT" + "ATT" + ALNUM[:40],
    "linear": "lin" + "_api_" + ALNUM[:40],
    "buildkite": "bk" + "ua_" + HEX[:40],
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0." + ALNUM[:43],
    "private key": "-----BEGIN RSA PRIVATE" + " KEY-----\n" + ALNUM[:64] + "\n-----END RSA PRIVATE KEY-----",
    "openssh key": "-----BEGIN OPENSSH PRIVATE" + " KEY-----\n" + ALNUM[:64] + "\n" + ALNUM[:64],
    "basic in url": "https://deploy:" + ALNUM[:12] + "@git.example.com/x.git",
    "connection": "postgres://app:" + ALNUM[:16] + "@db.example.com:5432/app",
    "redis": "redis://:" + ALNUM[:16] + "@cache.example.com:6379/0",
    "basic header": "Authorization: Basic " + ALNUM[:32],
    "bearer": "authorization: Bearer " + ALNUM[:40],
    "key value": "DB_PASSWORD=" + ALNUM[:14],
    "json": '{"user": "a", "password": "' + ALNUM[:12] + '"}',
    "yaml": "client_secret: " + ALNUM[:30],
    "flag": "login --password " + ALNUM[:14] + " --force",
    "curl": "curl -u admin:" + ALNUM[:12] + " https://example.com",
    "api header": "X-Api-Key: " + ALNUM[:32],
    "cookie": "Set-Cookie: session=" + ALNUM[:40],
    "xml": "<password>" + ALNUM[:12] + "</password>",
}  # fmt: skip
HARMLESS = [
    "password authentication failed for user postgres",
    "token: string | undefined",
    "Unexpected token < in JSON at position 0",
    "  secret: ${{ secrets.DEPLOY_KEY }}",
    "GITHUB_TOKEN: ***",
    "export API_KEY=$API_KEY",
    "--- PASS: TestLogin/with_key (0.00s)",
    "error: key 'abc' not found in map",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "password: required",
    "/etc/ssl/private/key.pem: Permission denied",
    "https://example.com/login?next=/home",
    "monkey = 12345678",
    "Fetching https://registry.example.com:443/package",
    "token: unexpected end of file",
    "error: unexpected token: 'foo'",
    "def login(user: str, password: str, token: str | None = None) -> bool:",
    "self.tc.connect(user=user, password=self.password, token=token)",
    "password = getpass.getpass('Password: ')",
    "app --token $TOKEN --password ${DB_PASSWORD} --secret $(cat secret)",
    "AWS_SECRET_ACCESS_KEY=***",
    "DB_PASSWORD=[secure] API_KEY=[FILTERED] TOKEN=<redacted> SECRET=xxxxxxxx",
    "password: ********",
    "PASSWORD=%DB_PASSWORD%  TOKEN=@TOKEN@  secret={{ .Values.secret }}",
    "primary_key=12345678-1234-4123-a123-123456789abc",
    "cache_key: linux-node-3f786850e387550fdab836ed7e6dc881de23001b",
    "Cache restored from key: v1-dependencies-9f86d081884c7d659a2feaa0c55ad015",
    "keyword=helloworld1 keyboard=qwerty1 monkey=banana22 turkey: sandwich1",
    '"integrity": "sha512-' + ALNUM[:86] + '=="',
    "max_tokens=4096 num_tokens: 1234567 tokenizer=bert-base-uncased2 pad_token='<pad>'",
    "image: registry.example.com/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a3ed95caeb02: Pushing [==>   ]  1.2MB/3.4MB",
    "Trace-Id: 4bf92f3577b34da6a3ce929d0e0e4736 request_id=0af76519-16cd-43dd-8448-eb211c80319c",
    "//# sourceMappingURL=data:application/json;charset=utf-8;base64,"
    + "eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbXSwibWFwcGluZ3Mi" * 3,
    "PASS: tests/foo-1.sh",
    "testcase classname='a.b.TestKey' name='test_password[case-1]' time='0.001'",
    "curl -u $USER:$PASSWORD https://example.com",
    "curl -H 'Authorization: Bearer $TOKEN' https://example.com",
    "Login failed for user 'root'@'localhost' (using password: YES)",
    "the password is required; the password is incorrect",
    "secretName: my-app-tls-2  serviceAccountToken: projected",
    "KeyError: 'token'  TokenError: token expired",
    "docker run -p 3306:3306 --network-alias mysql -p 8080:80 mysql:8",
    "http://localhost:8080/path@2x.png npm:@scope/pkg@1.2.3 git@github.com:a/b.git",
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 user@host",
    "-----BEGIN CERTIFICATE-----",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_goes(name: str) -> None:
    """Nothing of a secret of each kind is left but its placeholder."""
    text = SECRETS[name]
    redacted, count = redact_text(f"step 3: {text}\nnext line")
    assert count >= 1
    assert "[redacted:" in redacted
    assert ALNUM[:12] not in redacted
    assert HEX[:30] not in redacted
    assert redacted.endswith("\nnext line")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    """Words about secrets, variables, masks, hashes and paths are left alone."""
    assert redact_text(text) == (text, 0)


def test_the_same_secret_has_the_same_placeholder() -> None:
    """Two places of one secret can be seen to be the same, and of two secrets not to be."""
    one, other = "token=" + ALNUM[:20], "token=" + ALNUM[20:40]
    assert redact_text(one) == redact_text(one)
    assert redact_text(one)[0] != redact_text(other)[0]


@given(st.text(max_size=400))
def test_lines_stay_lines(text: str) -> None:
    """Redaction never changes how many lines a text has: they are numbered."""
    assert redact_text(text)[0].count("\n") == text.count("\n")


def test_a_key_over_lines_leaves_as_many_lines() -> None:
    """A private key of many lines is taken out whole and its lines stay, empty."""
    text = "a\n" + SECRETS["private key"] + "\nb"
    redacted, _ = redact_text(text)
    assert redacted.count("\n") == text.count("\n")
    assert redacted.startswith("a\n[redacted:private-key:")


LEAST_RECALL = 0.98


def _is_left(secret: str, redacted: str) -> bool:
    """Tell whether a secret, or of a long one the first or second half, is still there."""
    half = len(secret) // 2
    halves = (secret[:half], secret[half:]) if len(secret) >= 14 else ()
    return any(part in redacted for part in (secret, *halves))


def _show(missed: list[Planted]) -> str:
    return "\n".join(f"{planted.kind}: {planted.text[:200]!r}" for planted in missed[:20])


def test_made_up_secrets_go() -> None:
    """Of secrets of more than 300 kinds, drawn from vendors' alphabets and put where logs hold them, 98 % go."""
    kinds: Counter[str] = Counter()
    missed: list[Planted] = []
    for planted in plant_secrets(20260102, each=4):
        kinds[planted.kind] += 1
        redacted, _ = redact_text(f"step 3\n{planted.text}\nnext line")
        if any(_is_left(secret, redacted) for secret in planted.secrets):
            missed.append(planted)
    assert len(kinds) >= 300
    assert len(missed) <= (1 - LEAST_RECALL) * kinds.total(), _show(missed)
    often = [
        kind for kind, count in Counter(planted.kind for planted in missed).items() if count > kinds[kind] / 2
    ]
    assert not often, _show(missed)


def test_redacting_twice_changes_nothing() -> None:
    """Placeholders and what surrounds them are left alone, whatever they stand for."""
    for planted in plant_secrets(7, each=2):
        once, _ = redact_text(planted.text)
        assert redact_text(once) == (once, 0), planted.text
        assert once.count("\n") == planted.text.count("\n")


PIECES = ("password=", "token: ", "https://a:", "@", "AKIA", "QWERTYUIOP234567", "eyJ", "Bearer ", "-----BEGIN PRIVATE KEY-----", "\n", "\r", "\0", "\"", "'", "\\", "[redacted:jwt:012345]", "x7", "hunter2", "&", " ", "İ", "\ud800", "é1")  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_can_be_redacted_twice(text: str) -> None:
    """No text raises, loses a line, a carriage return or a NUL outside of secrets, or changes again the second time."""
    once, _ = redact_text(text)
    assert once.count("\n") == text.count("\n")
    assert redact_text(once) == (once, 0)


def test_many_texts_at_once_are_redacted_alike() -> None:
    """Many texts come out as each would by itself, those included that no column can hold."""
    texts = [planted.text for planted in plant_secrets(11, each=1)]
    texts += ["", "nothing to hide", "İ TOKEN=q1w2e3r4t5y6u7", "\u212aEY bearer 0123456789abcdef"]
    alone = [redact_text(text) for text in texts]
    assert sum(count for _, count in alone) > 300
    assert redact_texts(texts) == alone
    assert redact_texts([*texts, "\ud800"]) == [*alone, redact_text("\ud800")]


def test_carriage_returns_and_nul_end_a_value() -> None:
    """What ends a line or a field ends the secret, and stays."""
    redacted, count = redact_text("password=hunter2\r\ntoken=" + ALNUM[:20] + "\0rest")
    assert count == 2
    assert re.fullmatch(r"password=\[redacted:\S+\]\r\ntoken=\[redacted:\S+\]\0rest", redacted)


def test_short_secrets_share_marks() -> None:
    """A mark does not single out a password: of 20,000 short ones many have the same."""
    marks = {redact_text(f"password=hunter{number}")[0] for number in range(20_000)}
    assert 1000 < len(marks) <= 4096


HOSTILE = ("a", "://", "://a:", "eyJ", "eyJhbGciOi.", "password=", "password=(", 'password="', "pass-", "token=((", "key_", "\\", '"', "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----\n", "AKIAQWERTYUIOP234567 ", "curl -u a:", "Bearer ", "cookie: a=", "kind: Secret\ndata:\n  a: aaaaaaaa\n", "docker login ", "signature=", "a1-", "x.y.", "[redacted:")  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_comes_to_an_end(piece: str) -> None:
    """Text that repeats what starts a rule is read through: one that goes back over it would take minutes."""
    text = (piece * 150_000)[:150_000]
    assert redact_text(text)[0].count("\n") == text.count("\n")
