"""Say of what kind a failure is, by general textual rules; the first that matches decides."""

# ruff: noqa: E501 -- a pattern is read as a whole

from collections.abc import Sequence

import polars as pl

from bifrost_flow.evidence.anchors import to_polars, to_python

RULES = tuple(
    (category, to_polars(pattern))
    for category, pattern in (
        ("crash", r"(?:Address|Leak|Thread|Memory)Sanitizer|[Ss]egmentation [Ff]ault|SIGSEGV|SIGABRT|core dumped|KASAN|BUG: |Kernel panic|double free|stack smashing|^panic: |fatal error: unexpected signal"),
        ("out_of_resources", r"[Oo]ut of memory|OutOfMemory|OOMKilled|oom-kill|No space left|Cannot allocate memory|ENOSPC|ENOMEM|Too many open files|Disk quota"),
        ("permission_or_secret", r"[Pp]ermission denied|[Aa]ccess [Dd]enied|[Uu]nauthorized|403 Forbidden|\b40[13]\b.*(?:Client Error|status)|[Cc]redentials|dubious ownership|[Aa]uthentication failed|not authorized|EACCES|EPERM"),
        ("timeout", r"[Tt]imed? ?out|TIMEOUT|deadline exceeded|no output (?:has been )?received|took >"),
        ("docker_build", r"docker(?:file)?:? .*(?:build|failed)|failed to solve|manifest unknown|manifest for .* not found|buildx|Error response from daemon|Dockerfile:\d+"),
        ("dependency_error", r"[Cc]ould not resolve dependenc|No matching distribution|No match(?:ing)? (?:for argument|package)|ERESOLVE|npm ERR! (?:notarget|code E)|PackagesNotFound|Unable to locate package|unmet dependenc|version solving failed|Could not find (?:artifact|a version|gem)|ModuleNotFoundError|No module named|ImportError|Cannot find module|not available from current channels|NoSuchMethodError|[Dd]ependency|lockfile|PNPM|Failed building wheel"),
        ("network_or_flaky", r"[Cc]onnection (?:refused|reset|timed out|aborted)|ECONN|ENOTFOUND|EAI_AGAIN|[Nn]etwork|Could not resolve host|[Tt]emporary failure|50[0234] (?:Bad|Service|Server|Gateway|Internal)|TLS|SSL|returned error: \d{3}|MaxRetryError|couldn't connect|[Ff]lak|Could not transfer"),
        ("lint_error", r"would reformat|eslint|[Ff]lake8|pylint|rubocop|stylelint|prettier|\bE\d{3} |\bW\d{3,4}\b|[Ll]int|clang-format|gofmt|checkstyle|shellcheck|no-unused-vars|longer than \d+ char|trailing whitespace"),
        ("type_error", r"error TS\d+|mypy|: error: (?:Incompatible|Argument|Name|Item|Missing type|Unsupported operand|\".*\" has no)|\[(?:arg-type|assignment|attr-defined|union-attr|return-value|call-arg|index|misc)\]|pyright|not assignable to type"),
        ("test_assertion", r"<<< (?:FAILURE|ERROR)!|--- FAIL|AssertionError|assert|\bFAILED\b|FAIL:|✗|✖|●|not ok \d|Failures?:|[Ee]xpected|Tests? run:|TEST-UNEXPECTED|\d+ failing|_{3,} .* _{3,}|^ERROR: test"),
        ("compile_error", r"\.[A-Za-z+]{1,5}[:(]\d+(?:[:,]\d+)*\)?:? (?:fatal )?error|error\[E\d+\]|undefined reference|undefined symbol|cannot find symbol|SyntaxError|syntax error|COMPILATION ERROR|compilation failed|CompileError|error: expected|unresolved external|not in scope|redeclared|linker command failed|CMake Error|[Cc]ompil"),
        ("configuration_error", r"unknown (?:option|flag|command)|unrecognized (?:option|argument)|[Ii]nvalid (?:option|configuration|argument)|flag provided but|[Mm]isconfigur|not configured|\bconfig\b|No Rakefile|command not found|usage: |[Yy][Aa]?[Mm][Ll]"),
        ("infrastructure", r"runner|shutdown signal|[Aa]gent (?:lost|disconnected)|operation was canceled|No such host|[Nn]ode .*NotReady|[Ee]viction|Remote branch|git (?:clone|fetch|checkout)"),
        ("deployment", r"[Dd]eploy|[Rr]ollout|[Hh]elm|kubectl|[Rr]elease failed"),
        ("security", r"CVE-\d{4}|vulnerabilit"),
        ("performance", r"[Rr]egression|slower|benchmark|[Ll]atency"),
        ("crash", r"Traceback|[Ee]xception|panic|\w+Error\b"),
    )
)  # fmt: skip

SEVERE = to_python(
    r"Sanitizer|[Ss]egmentation|SIGSEGV|[Pp]anic|FATAL|CRITICAL|\bfatal\b|core dumped|BUG: |OutOfMemory|[Oo]ut of memory"
)


def classify_texts(cores: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return the category of each failure: of its own lines, in `cores`, if they tell, else of its whole text."""
    found = pl.DataFrame({"core": cores, "text": texts}, schema={"core": pl.String, "text": pl.String})
    named = found.select("text", category=_first_match(pl.col("core")))
    open_ones = named["category"].is_null()
    if open_ones.any():
        by_text = named.filter(open_ones).select(_first_match(pl.col("text")).alias("category"))
        filled = iter(by_text["category"].fill_null("unknown"))
        return [category or next(filled) for category in named["category"]]
    return named["category"].to_list()


def _first_match(column: pl.Expr) -> pl.Expr:
    first_rule, *others = RULES
    chain = pl.when(column.str.contains(first_rule[1])).then(pl.lit(first_rule[0]))
    for category, pattern in others:
        chain = chain.when(column.str.contains(pattern)).then(pl.lit(category))
    return chain.otherwise(None)


def judge_severity(kind: str, core: str, *, leading: bool) -> str:
    """Return the severity of a piece of evidence; the `leading` one of a job that failed is what failed."""
    if kind in ("sanitizer", "kernel_panic", "native_crash") or SEVERE.search(core):
        return "critical"
    if kind in ("warning", "hint", "tail"):
        return "error" if leading else "warning" if kind != "tail" else "info"
    return "error"
