"""What every page of ours is: one HTML file that asks the network for nothing, style and script inside.

Every value goes through `make_visible` and then through Jinja's escaping, in one place, so that no line of
a template can forget it. The Content-Security-Policy names the one style and the one script by their
hashes: even markup that got in would neither run nor load anything.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bifrost_flow import __version__
from bifrost_flow.language import t
from bifrost_flow.render.defuse import cut, make_visible
from bifrost_flow.render.facts import format_time, label

TEMPLATES = Path(__file__).parent / "templates"
_CODE = re.compile(r"`([^`\n]+)`")


def render_page(name: str, *, lang: str, made_at: datetime, assets: Sequence[str], **values: object) -> str:
    """Return the template `name` filled with `values`; `assets` are the styles and scripts beside ours."""
    style, script = (
        "\n".join(read_asset(asset) for asset in (f"page{suffix}", *assets) if asset.endswith(suffix))
        for suffix in (".css", ".js")
    )
    return (
        open_environment()
        .get_template(name)
        .render(
            lang=lang,
            # Thousands of findings have the same few words around them: each is looked up and escaped once.
            t=cache(lambda key, **words: _escape(t(f"render.{key}", lang=lang, **words))),
            word=cache(lambda kind, value: _escape(label(kind, value, lang))),
            made_by=t(
                "render.page.made_by",
                lang=lang,
                product="bifrost-flow",
                version=__version__,
                time=format_time(made_at),
            ),
            style=Markup(style),
            style_hash=hash_source(style),
            script=Markup(script),
            script_hash=hash_source(script),
            **values,
        )
    )


# A run says the same few times of all that it found.
@lru_cache
def show_time(moment: datetime | None) -> str:
    """Return a time in UTC, which the page's script rewrites as its reader has it."""
    if moment is None:
        return format_time(None)
    machine = moment.astimezone(UTC).isoformat()
    return Markup('<time datetime="{}">{}</time>').format(machine, format_time(moment))


@cache
def open_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_printable,
    )
    environment.filters["code"] = _mark_code
    environment.filters["cut"] = cut
    return environment


def _make_printable(value: object) -> object:
    """Make every printed text visible before it is escaped; `Markup` is ours and stays as it is."""
    return make_visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _escape(text: str) -> Markup:
    return escape(make_visible(text))


def _mark_code(text: str) -> Markup:
    """Return `text` escaped, with what stands between backticks set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(_escape(text))))


@cache
def read_asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def hash_source(text: str) -> str:
    """Return the hash source of an inline element (Content Security Policy Level 3, section 8.3)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
