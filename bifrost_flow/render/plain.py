"""An answer as plain text that grows at its end only, so that it can be shown while it is written."""

from collections.abc import Sequence

from bifrost_flow.draft import TEXT_FIELDS, Draft
from bifrost_flow.language import t
from bifrost_flow.records import Evidence, Finding, SimilarFinding
from bifrost_flow.render.defuse import make_visible, put_on_one_line
from bifrost_flow.render.facts import (
    MAX_SUGGESTION_CHARS,
    describe_past,
    describe_reach,
    format_time,
    label,
    name_command,
    name_model,
)


class PlainAnswer:
    """The text of one answer, piece by piece: each call returns what is to be written after the last."""

    def __init__(self, lang: str) -> None:
        self._lang = lang
        self._written: dict[str, str] = {}
        self._has_evidence = False

    def grow(self, draft: Draft) -> str:
        """Return what `draft` has more than the drafts before it.

        An answer that begins anew, after a call that failed, is told from one that goes on: it lacks what was
        there.
        """
        restart = ""
        if not self._written.keys() <= dict(draft.texts).keys():
            restart = f"\n\n({t('analyze.restarted', lang=self._lang)})\n\n"
            self._written, self._has_evidence = {}, False
        return restart + self._show_evidence(draft.evidence) + self._show_texts(draft.texts)

    def end(self, finding: Finding) -> str:
        """Return the rest: what no draft had, and the facts that only a checked answer has."""
        texts = [(name, getattr(finding, name).strip()) for name in TEXT_FIELDS]
        for name, text in texts:
            if not _goes_on(self._written.get(name, ""), make_visible(text)):
                del self._written[name]  # what was shown is not what it came to: the reader gets it whole
        missing = self._show_texts([(name, text) for name, text in texts if text])
        evidence = self._show_evidence(finding.evidence)
        return f"{missing}{evidence}\n\n{self._show_facts(finding)}\n"

    def _show_texts(self, texts: Sequence[tuple[str, str]]) -> str:
        return "".join(self._show_text(name, make_visible(text)) for name, text in texts)

    def _show_text(self, name: str, text: str) -> str:
        before = self._written.get(name)
        if before is None:
            self._written[name] = text
            # A title needs no heading where it comes first.
            if name == "title" and len(self._written) == 1 and not self._has_evidence:
                return text
            gap = "\n\n" if len(self._written) > 1 or self._has_evidence else ""
            heading = "analyze.in_short" if name == "title" else f"render.{name}"
            return f"{gap}{t(heading, lang=self._lang)}\n{text}"
        if not text.startswith(before):
            return ""
        self._written[name] = text
        return text[len(before) :]

    def _show_evidence(self, evidence: Sequence[Evidence]) -> str:
        if self._has_evidence or not evidence:
            return ""
        self._has_evidence = True
        gap = "\n\n" if self._written else ""
        lines = (
            f"\n  {put_on_one_line(line.path)}:{line.line}: {make_visible(line.quote)}" for line in evidence
        )
        return f"{gap}{t('render.evidence', lang=self._lang)}{''.join(lines)}"

    def _show_facts(self, finding: Finding) -> str:
        lang = self._lang
        status = label("status", finding.status, lang)
        if finding.status != "new":
            status += f" ({t('render.first_seen', lang=lang)}: {format_time(finding.first_seen)})"
        facts = [
            status,
            label("severity", finding.severity, lang),
            label("category", finding.category, lang),
            describe_reach(finding, lang),
            f"{t('render.confidence', lang=lang)} {finding.confidence:.0%}",
        ]
        model = put_on_one_line(name_model(finding))
        cached = f" ({t('render.cached', lang=lang)})" if finding.cached else ""
        lines = [
            " · ".join(facts),
            f"{t('render.explained_by', lang=lang)}: {model}{cached} · {finding.fingerprint}",
        ]
        if not finding.evidence:
            lines.insert(0, t("render.no_evidence", lang=lang))
        if not finding.grounded:
            lines.append(t("render.not_grounded", lang=lang))
        return "\n".join(lines)


def render_similar(similar: Sequence[SimilarFinding], lang: str) -> str:
    """Return earlier findings as lines: status, date and title, what was suggested, and how to open them."""
    lines = [t("render.similar", lang=lang)]
    for each in similar:
        lines.append(f"  {describe_past(each, lang)} · {put_on_one_line(each.title)}")
        if each.suggestion:
            lines.append(f"    {put_on_one_line(each.suggestion, MAX_SUGGESTION_CHARS)}")
        lines.append(f"    {name_command(each)}")
    return "\n".join(lines)


def _goes_on(before: str, text: str) -> bool:
    """Tell whether `text` begins as `before` does, however their lines are broken."""
    return " ".join(text.split()).startswith(" ".join(before.split()))
