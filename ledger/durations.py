"""How long something took or lasts, in the words of every page and command."""

SECOND_US = 1_000_000
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
DAY_US = DAY_S * SECOND_US


def lasting(seconds: float) -> str:
    """A duration in its largest whole unit."""
    if seconds < MINUTE_S:
        return f"{int(seconds)} s"
    if seconds < 2 * HOUR_S:
        return f"{int(seconds // MINUTE_S)} min"
    if seconds < 2 * DAY_S:
        return f"{int(seconds // HOUR_S)} h"
    return f"{int(seconds // DAY_S)} days"


def took(duration_us: int) -> str:
    """A short duration with the precision that matters to people."""
    if duration_us < 10 * SECOND_US:
        return f"{duration_us / SECOND_US:.1f} s"
    return lasting(duration_us / SECOND_US)
