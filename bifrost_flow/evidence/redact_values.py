"""Find secrets by their place: what is assigned to a secret's name, or stands where a URL or header holds one.

Logs speak of passwords more often than they print them, so both name and value are looked at: the name says how much
it takes for a value to be one, the value must not be a mask, a variable, a path, a type or a word of prose.
Everything is matched at a given place and over a bounded length, so that no text takes more than linear time.
"""

# ruff: noqa: E501, SIM905 -- a pattern is read as a whole, and so is a list of words

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

Span = tuple[int, int, str]  # start, end, name of the rule

MAX_VALUE = 256  # characters of a value that are judged; the rest of a longer one goes with it
MAX_NAME = 64

STEMS = ("pass", "pw", "psw", "secret", "token", "key", "cred", "auth", "sess", "sid", "cookie")
_QUOTE = r"(?:\\{0,8}[\"'`]|%22|&quot;|&\#3[49];|\\{1,4}u00(?:22|27))"
# What follows a name: the rest of it, what closes it, what parts it from its value.
_TAIL = re.compile(
    rf"([\w-]{{0,40}})((?:{_QUOTE}|[\])]){{0,3}})(\s{{0,40}},?\s{{0,40}}{_QUOTE}?(?:value|Value){_QUOTE}?(?=[ \t]*[:=]))?"
    r"([ \t]*(?:=>|:=|=|%3[Dd])[=~]{0,2}[ \t]*|[ \t]*(?:::?|%3[Aa])[ \t]*(?:\w{1,12}[ \t]*=[ \t]*(?=[\"']))?| (?:is|was)(?: set to)?:? |(?:[ ][\w:-]{1,20}=\S{1,40})?>|[ \t]+)"
)
_OPEN = re.compile(rf"[\[(]?(?:[rbu]|@|\$)?({_QUOTE})")
PLAIN = re.compile(rf"[^\s\"'`]{{1,{MAX_VALUE}}}")
_REST = re.compile(r"[^\s\"'`]*")
_IN_QUOTES = {mark: re.compile(rf"(?:[^{mark}\\\n]|\\[^\n]){{0,4096}}") for mark in ("'", '"')}
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARTS = re.compile(r"[^a-z0-9]+")
# Words behind a secret's name that leave it one.
_ADDED = frozenset(
    "prod production dev test testing staging stage live new old current previous base value val b64 base64 encoded raw plain"
    " plaintext text clear cleartext string env default main primary secondary ro rw hex data header json 0 1 2 3 v1 v2".split()
)
_PASSWORD = re.compile(
    r"(?:password|passwd|passwrd|passphrase|passwort|passcode|pword|(?:^|_)(?:pass|pwd|psw|pswd|pw)|(?:db|user|root|ssh|store|key|require|become|bind|my|mysql|pg|smtp|ldap|admin|http|sql|redis|ansible|ftp|vnc)(?:pass|pwd?)|masterauth|passwords)$"
)
_PASS_WORD_ONLY = frozenset(("pass", "pw", "key", "auth"))
_TOKEN = re.compile(
    r"(?:token|secret|secrets|(?:api|access|secret|private|signing|sign|encryption|encrypt|decryption|crypt|crypto|master|account|auth|authentication|service|storage|subscription"
    r"|shared|webhook|hmac|license|licence|write|ingest|ingestion|integration|sdk|server|admin|app|application|consumer|deploy|ssh|functions?|instrumentation|push|routing|client|jwt|cipher|aes|security|secure)_?keys?"
    r"|(?:access|private|api|secret)_?key_id|(?:^|_)creds?|credentials?|authtoken|password_(?:hash|digest|salt|key)|secret_string|token_(?:secret|key))$"
)
_KEY = re.compile(r"(?:^|_)key$")
_SESSION = re.compile(
    r"(?:sess(?:ion)?(?:_?(?:id|key|token|cookie))?|(?:^|_)sid|sessid|cookie|[a-z]+sessid)$"
)
_AUTH = re.compile(r"(?:^|_)(?:auth|authorization|authentication|basic_auth|auth_basic|extraheader)$")
# Tokens of parsers, models and pages, keys of tables and caches: names like a secret's, values that are none.
_OTHER_TOKEN = re.compile(
    r"(?:page|next|continuation|pagination|cancel|cancellation|pad|eos|bos|unk|sep|mask|cls|special|stop|start|end|begin|lock|fencing|sync|delimiter|unexpected"
    r"|last|first|prev|expected|invalid|bad|illegal|image|audio|video|resume|cursor|change|id_of|of|per|max|min|num|dedup|crash|stack)_tokens?$|tokens$"
)
_OTHER_KEY = re.compile(
    r"(?:cache|public|pub|primary|foreign|partition|sort|range|cluster|dedup|row|object|map|lookup|idempotency|group|index|unique|natural|bucket|s3|host|gpg|pgp|restore|hash|registry"
    r"|dict|json|config|setting|locale|i18n|translation|metric|label|sorting|surrogate|websocket|etag|item|param|field|env|node|trace|data|state|registration|session_cache|routing_table|compile|build|artifact|save|issue|project|jira|lock|kernel|module|sha|commit|checksum|digest|storage|blob|layer|react|test|job|task|event|query|column|fk|pk|rsa_public|ecdsa|ed25519|known|hot|short|arrow|menu)_?keys?$"
)

HARMLESS = re.compile(
    r"^(?:[*xX•.#?_-]{3,}|.*\*{3}.*|.*(?:xxxx|XXXX|••).*|\$\w+;?|.*\$\{.*|.*\$\(.*|%\w+%|%[sdrvq@].?|.*%\(\w+\)s.*|%[{(<].*|<[^>]*>?[,;]?|\{.*|\[.*|\(.*|@\w+@|!(?:Ref|Sub|GetAtt|ImportValue|vault|reference|secret)\b.*|&\w+;?"
    r"|true|false|null|none|nil|undefined|required|optional|missing|empty|invalid|redacted.*|masked.*|hidden.*|secured?|filtered|omitted|removed|encrypted|protected|sensitive.*|not[-_ ].*|n/a|unset|set|unknown|auto|yes|no|on|off|ok"
    r"|string|str|int|bool|any|object|bytes|text|file|env|from|the|for|is|was|and|with|input|prompt|secret|password|passwd|pwd|token|key|value|default|example(?:[-_ ].*)?|your[-_ ]?.*|placeholder.*|https?:/.*|(?:file|vault|ssm|arn|op|secretref|keyvault|awssm):.*|disabled|enabled"
    r"|[A-Za-z_][\w.:>-]*\([^)]*\)?.*|[A-Za-z_]\w*(?:\.[A-Za-z_]+|\[[^\]]*\]?)+(?:[,;)}\]].*)?|[A-Za-z]+/\d|[A-Za-z]\w*\{.*|[\w.$]+@[0-9a-f]{5,8}|\d+\|.*|\d{1,5}|[\d.:,-]+[a-z]{0,2}|(?-i:[A-Z][A-Z_]+)|[|>]-?|[-=+<>|&:~/\\.,;!?)\]}]+|0x0+|[0\W]+)$",
    re.IGNORECASE,
)
_PATH = re.compile(r"^(?:[A-Za-z]:|~|\.{1,2}|[\w-]{1,30}(?=/[\w.-]+/))?[\\/][\w. @\\/{}~-]*$")
_WORDY = re.compile(r"^[A-Za-z]+(?:[ _/.:-][A-Za-z]+){0,60}[.:!?]?$")
# Words, each with a number at most: no two of its parts can share a character, so that it never goes back.
_NUMBERED = re.compile(r"^[a-z]{2,}\d{0,4}(?:[-_./](?:[a-z]{2,}\d{0,4}|v?\d{1,4}))*$", re.IGNORECASE)
_HASH = re.compile(r"^(?:sha\d+[:-]|md5[:-])|^[0-9a-f]{7,8}$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.IGNORECASE)
_SCHEME = re.compile(
    r"(?:authorization:[ \t]*)?(?:basic|bearer|token|digest|api-?key|negotiate|ntlm|hmac|genie\w+|splunk|pve\w+|snyk|sso-key|ssws|key|aws4-hmac-sha256)(?:[ \t]+|%20|=|:[ \t]+)",
    re.IGNORECASE,
)
# What may follow `password:` or `password is` in prose.
_PROSE = frozenset(
    "required incorrect invalid expired expires mismatch wrong missing empty correct changed updated accepted rejected failed failure failures error errors must should"
    " cannot contains provided prompt needed disabled enabled blank unset unknown unexpected expected authentication policy reset string number boolean hidden skipped"
    " stored generated encrypted hashed plain plaintext default supported unsupported deprecated insecure random unauthorized forbidden denied granted valid success successful"
    " passed passing created deleted verified tests testing please enter retype confirm length strength manager optional strong weak short long present absent available".split()
)
_CUT = re.compile(
    r"\\{1,4}[nrt](?![a-z])|&quot;|%22|&amp;|</|&(?=[\w.\[\]%-]{1,60}=)|;(?=[ \t]*[A-Za-z][\w ]{0,40}=|$)|,(?=[ \t]*\\?[\"']?:?[\w.-]{1,60}\\?[\"']?[ \t]*[=:]|$)|\x1b|\x00"
)
_QUERY_CUT = re.compile(r"[&#;]|%26")
_CHANGE = re.compile(r"\\*[\"'] -> \\*[\"']([^\"'\s\\]{4,512})")
_COOKIE = re.compile(r"([\w.-]{1,80})=([^\s;\"',\\]{8,4096})")
_NO_COOKIE = frozenset(("expires", "path", "domain", "max-age", "samesite", "version"))
_CLOSERS = {")": "(", "]": "[", "}": "{", ">": "<"}
_SET = re.compile(
    r"(?:^|[\s;(\"'`,\[])(?:ENV|ARG|set|setx|setenv|set-env|put|config set|configure set|secret set|login \S{1,100})\s+(?:-\S+\s+)*$"
)
_NETRC = re.compile(r"\b(?:login|machine|account|username|user)[ \t]+\S{1,200}[ \t]*\n?[ \t]*$")
_ALONE = re.compile(r"(?:^|\n)[ \t]*(?:-[ \t]+|[+~][ \t]+)?$")
_LINE_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\r?\Z)")


def find_values(text: str, lowered: str) -> Iterator[Span]:
    """Yield what is assigned to names of secrets; `lowered` is `text` in lower case, as long as it."""
    for stem in STEMS:
        at = lowered.find(stem)
        while at >= 0:
            after = at + len(stem)
            tail = _TAIL.match(text, after)
            if tail is not None and stem == "cookie" and tail[4].strip() == ":":
                spans, after = _find_cookies(text, tail.end())
                yield from spans
            elif tail is not None:
                # A name is judged once, whatever number of stems it holds.
                after = max(after, tail.end(1))
                for start, end, name in _judge_at(text, at, tail):
                    yield start, end, name
                    after = max(after, end)
            at = lowered.find(stem, after)


def _judge_at(text: str, at: int, tail: re.Match[str]) -> Iterator[Span]:
    first = at
    while first > 0 and at - first < MAX_NAME and text[first - 1] in _NAME_CHARS:
        first -= 1
    name = text[first : tail.end(1)]
    kind = name_kind(name)
    if not kind:
        return
    found = _read_value(text, first, tail, kind)
    if found is None:
        return
    start, end, quoted, separator = found
    value = text[start:end]
    if kind == "auth" and (scheme := _SCHEME.match(text, start)):
        start = scheme.end()
        if quoted:
            value = text[start:end]
        else:
            plain = PLAIN.match(text, start)
            end, value = (plain.end(), plain[0]) if plain else (start, "")
            end = start + len(value := _trim(value, False))
        if len(value) >= 6 and not HARMLESS.match(value) and not (_WORDY.match(value) and value.islower()):
            yield start, end, "authorization"
        return
    if not _is_spot(text, first, tail, name, kind, separator, quoted):
        return
    if not is_secret(value, kind, separator, quoted=quoted, alone=_stands_alone(text, first, end), name=name):
        return
    if not quoted and end - start >= MAX_VALUE and (rest := _REST.match(text, end)):
        end = rest.end()
    yield start, end, "flag" if separator == " " and name.startswith("-") else "assignment"
    if text.startswith(again := f" => {value}", end):
        yield end + 4, end + len(again), "assignment"
    if quoted and (change := _CHANGE.match(text, end)):
        yield change.start(1), change.end(1), "assignment"


@lru_cache(maxsize=4096)
def name_kind(name: str) -> str:
    """Return what a name promises: `password`, `token`, `key`, `session`, `cookie`, `auth`, or an empty text for nothing."""
    words = [word for word in _PARTS.split(_CAMEL.sub("_", name).lower()) if word]
    while len(words) > 1 and (words[-1] in _ADDED or words[-1].isdigit()):
        words.pop()
    joined = "_".join(words)
    if _PASSWORD.search(joined):
        return "password"
    if _OTHER_TOKEN.search(joined):
        return ""
    if _AUTH.search(joined):
        return "auth"
    if joined in ("cookie", "set_cookie"):
        return "cookie"
    if _SESSION.search(joined):
        return "session"
    if _TOKEN.search(joined):
        return "token"
    if _KEY.search(joined) and joined != "key" and not _OTHER_KEY.search(joined):
        return "key"
    return ""


def _read_value(text: str, first: int, tail: re.Match[str], kind: str) -> tuple[int, int, bool, str] | None:
    """Return start and end of what stands behind a name, whether it is quoted, and what parts them: `=`, `:`, `>`, ` `, `is`."""
    separator = tail[4].strip() or " "
    separator = (
        "is"
        if separator.startswith(("is", "was"))
        else ">"
        if separator[-1] == ">" and separator != "=>"
        else separator
    )
    at = tail.end()
    if tail[3]:
        at += len(text[at:]) - len(text[at : at + 8].lstrip(" \t:=")) - len(text[at + 8 :])
        separator = "="
    if separator in ("=>", ":=", "%3D", "%3d") or separator[0] == "=" or "=" in separator:
        separator = "="
    elif separator[0] == ":" or separator.lower() == "%3a":
        # Nothing but `:` between both, as in dumps of structures; prose has a blank.
        separator = "::" if tail[4] == ":" else ":"
    opened = _OPEN.match(text, at)
    if opened is not None and separator != ">":
        mark, start = opened[1], opened.end()
        if mark in _IN_QUOTES:
            body = _IN_QUOTES[mark].match(text, start)
            end = body.end() if body is not None else start
            closed = text[end : end + 1] == mark
        else:
            end = text.find(mark, start, start + 4096)
            closed = end >= 0 and "\n" not in text[start:end]
        if closed and end > start:
            return start, end, True, separator
        if closed:
            return None
        at = start
    plain = PLAIN.match(text, at)
    if plain is None:
        return None
    value = plain[0]
    before = text[first - 1 : first]
    value = _trim(value, before in ("?", "&") and separator == "=")
    if separator == ">":
        value = value.split("<", 1)[0]
    return (at, at + len(value), False, separator) if value else None


def _trim(value: str, in_query: bool) -> str:
    """Return an unquoted value without what ends it: the next field, a closing bracket, punctuation."""
    if in_query and (cut := _QUERY_CUT.search(value)):
        value = value[: cut.start()]
    if cut := _CUT.search(value):
        value = value[: cut.start()]
    value = value.rstrip("\\")
    while value:
        last = value[-1]
        if last in ".,;:" or (last in _CLOSERS and value.count(last) > value.count(_CLOSERS[last])):
            value = value[:-1]
        else:
            break
    return value


def _is_spot(
    text: str, first: int, tail: re.Match[str], name: str, kind: str, separator: str, quoted: bool
) -> bool:
    """Tell whether a value can stand here: after a blank only behind a flag, in .netrc, in SQL or a set command."""
    if separator == ">":
        return text[first - 1 : first] == "<" or (
            ":" in text[max(0, first - 24) : first] and "<" in text[max(0, first - 24) : first]
        )
    if separator != " ":
        return True
    if tail[2] and not quoted:
        return False
    if name.startswith("-"):
        return True
    before = text[max(0, first - 160) : first]
    if _SET.search(before):
        return True
    if kind == "password" and (_NETRC.search(before) or name in ("requirepass", "masterauth", "bindpw")):
        return True
    return quoted and kind == "password" and (name.isupper() or name.lower() == "password")


def _stands_alone(text: str, first: int, end: int) -> bool:
    """Tell whether name and value are all of their line, as in YAML and properties."""
    return bool(_ALONE.search(text[max(0, first - 40) : first]) and _LINE_END.match(text, end))


def is_secret(value: str, kind: str, separator: str, *, quoted: bool, alone: bool, name: str) -> bool:
    """Tell whether `value`, in the place of a secret of a kind, is one."""
    if len(value) < 4 or "[redacted:" in value:
        return False
    if kind == "password":
        return _is_password(value, separator, quoted=quoted, alone=alone, name=name)
    if " " in value or HARMLESS.match(value):
        return False
    if _PATH.match(value) and not _is_random(max(re.split(r"[\\/]", value), key=len), 16):
        return False
    if _WORDY.match(value):
        return kind == "token" and len(value) >= 16 and _is_scrambled(value)
    if kind == "token":
        if separator == "is":
            return _is_random(value, 12)
        numbered = _NUMBERED.match(value) and not (len(value) >= 16 and _is_scrambled(value))
        return len(value) >= 8 and not numbered and not _HASH.match(value)
    if kind == "auth":
        return (
            ":" in value
            and len(value) >= 8
            and "//" not in value
            and value[0] != ":"
            and not _NUMBERED.match(value.split(":", 1)[1])
        ) or (
            _is_random(value, 12) and separator in ("=", ":", "::") and (quoted or alone or separator == "=")
        )
    # A session, or a key of something: of a table, a cache or a cipher.
    plain = _HASH.match(value) or _COMMIT.match(value) or _UUID.match(value)
    return separator in ("=", ":", "::") and _is_random(value, 20) and not plain


def _is_password(value: str, separator: str, *, quoted: bool, alone: bool, name: str) -> bool:
    low = value.lower()
    if HARMLESS.match(value) and not (value.isdigit() and len(value) >= 6 and separator == "="):
        return False
    if _PATH.match(value) or low in _PROSE:
        return False
    short = name.strip("-_.").lower() in _PASS_WORD_ONLY
    if " " in value:
        return (
            quoted
            and separator != " "
            and value.count(" ") <= 6
            and ("phrase" in name.lower() or any(c.isdigit() for c in value))
            and not short
        )
    if separator == "is":
        return (
            quoted
            or (any(c.isdigit() for c in value) and any(c.isalpha() for c in value))
            or (not value.isalnum() and not _WORDY.match(value))
        )
    if len(value) < (4 if quoted else 5):
        return False
    if _WORDY.match(value):
        if name_kind(value) == "password":
            return False
        if short and separator in (":", "::") and not quoted:
            return False
        return (
            quoted
            or separator in "= "
            or separator == ">"
            or (len(value) >= 6 and (separator == "::" or (alone and (not name[0].isupper() or "_" in name))))
        )
    if short and separator in (":", "::") and not quoted:
        return alone and _is_mixed(value) and "/" not in value
    return True


def _is_random(value: str, least: int) -> bool:
    """Tell whether a value has the looks of chance: long, letters and digits mixed, no words with numbers."""
    return len(value) >= least and _is_mixed(value) and not _NUMBERED.match(value) and value.isascii()


def _is_mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_scrambled(value: str) -> bool:
    """Tell whether letters change their case as chance has it, not as names do."""
    switches = sum(a.islower() != b.islower() for a, b in pairwise(value))
    return switches > 0.4 * len(value)


def _find_cookies(text: str, at: int) -> tuple[list[Span], int]:
    """Return the values of a cookie header that tell a session, and where the header ends."""
    end = text.find("\n", at, at + 8192)
    end = end if end >= 0 else min(len(text), at + 8192)
    spans = []
    for pair in _COOKIE.finditer(text, at, end):
        name, value = pair[1].lower(), pair[2]
        if name in _NO_COOKIE or HARMLESS.match(value) or not _is_mixed(value):
            continue
        if len(value) >= 16 or _SESSION.search(name):
            spans.append((*pair.span(2), "cookie"))
    return spans, end
