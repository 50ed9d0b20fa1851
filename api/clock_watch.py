"""What deliveries tell about our clock: when all of them seem to come from another day, it is rarely they that are wrong."""

import structlog

LATE_IN_A_ROW_MAX = 10

logger = structlog.get_logger(__name__)


class ClockWatch:
    """Raises an alarm after ten authentic deliveries in a row outside the replay window, and ends it with the first inside."""

    def __init__(self) -> None:
        self._late_in_a_row = 0

    def saw(self, *, late: bool) -> None:
        """Notes one authentic delivery. A late one is recorded all the same."""
        self._late_in_a_row = self._late_in_a_row + 1 if late else 0
        if self._late_in_a_row == LATE_IN_A_ROW_MAX:
            logger.error("every delivery is outside the replay window", warning=self.warnings()[0])

    def warnings(self) -> list[str]:
        """What an operator should know."""
        if self._late_in_a_row < LATE_IN_A_ROW_MAX:
            return []
        warning = (
            f"the last {LATE_IN_A_ROW_MAX} deliveries or more were signed outside the replay window; "
            "compare this machine's clock with the provider's (nothing is lost: they are recorded and marked late)"
        )
        return [warning]
