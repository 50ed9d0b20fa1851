"""How fast things happen at the simulated provider. Pure."""

from typing import NamedTuple


class Tempo(NamedTuple):
    """A new message begins every `message_gap_us` on average, a step comes at most `step_us_max` after the one before it.

    The next message of a conversation comes at most `answer_us_max` after the one before it.
    """

    message_gap_us: int
    step_us_max: int
    answer_us_max: int


NATURAL = Tempo(message_gap_us=250_000, step_us_max=4_000_000, answer_us_max=90_000_000)
"""About twelve messages are on their way at any time."""
LIVE = Tempo(message_gap_us=20_000, step_us_max=1_200_000, answer_us_max=1_000_000)
"""For who watches: some hundred messages are over in seconds."""
