"""Does a prompt fit a model's window, and did the server read all of it?"""

import re

from bifrost_flow.errors import ModelRefused
from bifrost_flow.excerpt import estimate_tokens
from bifrost_flow.language import t
from connectors.models.protocol import ModelRequest

TEMPLATE_TOKENS = 64  # what a model's chat template puts around system and user text

# No tokenizer packs more characters into a token, on average over a prompt, once runs of one sign are set
# aside.
_MOST_CHARS_A_TOKEN = 10
_FEWEST_TOKENS = 16
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def estimate_prompt(request: ModelRequest, context_tokens: int, *, server: str) -> int:
    """Return a careful, high estimate of the prompt's tokens.

    Raises:
        ModelRefused: the prompt alone is more than the model can hold.
    """
    prompt = estimate_tokens(request.system) + estimate_tokens(request.user)
    if prompt > context_tokens:
        raise cut_error(context_tokens, server=server)
    return prompt


def reads_too_little(request: ModelRequest, read: int) -> bool:
    """Return whether `read` tokens are fewer than any tokenizer makes of the prompt, so that it was cut.

    A count of next to nothing is no cut: some servers leave out what they had read before.
    """
    dense = len(_RUN.sub(r"\1", request.system + request.user))
    return _FEWEST_TOKENS < read < dense / _MOST_CHARS_A_TOKEN


def cut_error(context_tokens: int, *, server: str) -> ModelRefused:
    """Return the error for a prompt that the model can't read whole."""
    return ModelRefused(t("model.prompt_cut", server=server, tokens=context_tokens))
