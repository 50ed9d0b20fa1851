"""`ledger serve` whose read models stand still, so that it can be told what projecting takes from the webhooks."""

from api.command_line import main
from projections.read_models import ReadModels


def _stand_still(self: ReadModels) -> None:
    """Starts no runner."""


if __name__ == "__main__":
    ReadModels.start = _stand_still  # type: ignore[method-assign]
    main()
