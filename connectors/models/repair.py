"""A reply that is no answer, and the question put once more with what was wrong with it."""

import json
from dataclasses import replace

from bifrost_flow.answer import Answer, parse_answer
from bifrost_flow.errors import ModelRefused
from bifrost_flow.excerpt import estimate_tokens, show_text
from connectors.models.protocol import ModelReply, ModelRequest
from connectors.models.window import TEMPLATE_TOKENS

_MAX_QUOTED_CHARS = 1000


class UnusableReply(ModelRefused):
    """The model answered, but not with an answer; `reply` is what it said."""

    def __init__(self, message: str, reply: ModelReply) -> None:
        super().__init__(message, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)
        self.reply = reply.text


def read_reply(reply: ModelReply, n_lines: int) -> Answer:
    """Return the answer that `reply` holds.

    Raises:
        UnusableReply: there is none; a second try may mend it.
    """
    try:
        return parse_answer(reply.text, n_lines)
    except ModelRefused as error:
        raise UnusableReply(str(error), reply) from error


def repair_request(request: ModelRequest, error: UnusableReply, context_tokens: int) -> ModelRequest:
    """Return `request` with what was wrong with the reply and how that began, as far as the window has
    room."""
    note = (
        f"Your last reply could not be used. {error}\n{{quoted}}"
        "Answer again, with one JSON object that keeps to the schema and nothing else."
    )
    used = sum(estimate_tokens(text) for text in (request.system, request.user, note)) + TEMPLATE_TOKENS
    room = context_tokens - used - min(request.max_output_tokens, context_tokens // 3)
    # A token is never less than a byte, and a character of a log at most four.
    shown = show_text(error.reply[: max(0, min(_MAX_QUOTED_CHARS, room))])
    # As one JSON string: a reply that repeats what the log told it can't pass for our words.
    began = json.dumps(shown, ensure_ascii=False)[1:-1].encode("utf-8", "replace")[: max(0, room)]
    text = began.decode("utf-8", "ignore").rstrip("\\")
    quoted = f'It began, as a JSON string:\n"{text}"\n\n' if began else ""
    return replace(request, user=f"{request.user}\n\n{note.replace('{quoted}', quoted, 1)}")
