"""What a running server holds: the ledger, its writers, and who may ask. Built at the root, handed to every handler."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from api.access import Access
from api.clock import ClockWatch
from api.readiness import Readiness
from api.settings import Settings
from ledger.facts import Item, Outcome
from ledger.group_commit import GroupCommit
from ledger.ledger import Ledger
from ledger.reception import Reception


class Appended:
    """Tells those who follow the log that something was appended in this process. For one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wakes everyone who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, at_most_s: float) -> None:
        """Returns after the next append, or after `at_most_s`: other processes append as well."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._event.wait()


@dataclass(slots=True)
class Service:
    """One server's parts. `writers` exist between `start` and `stop`, on the event loop that called `start`."""

    settings: Settings
    ledger: Ledger
    reception: Reception
    access: Access
    appended: Appended = field(default_factory=Appended)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[GroupCommit] = field(default_factory=list)
    open_streams: int = 0
    clock: ClockWatch = field(default_factory=ClockWatch)
    readiness: Readiness = field(init=False)

    def __post_init__(self) -> None:
        self.readiness = Readiness(self.ledger)

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Opens the ledger, and creates it where there is none."""
        ledger = Ledger.open(settings.database_url, partitions=settings.partitions)
        reception = Reception(settings.secrets, ledger.partitions, settings.replay_window_s, ledger.codec)
        return cls(settings, ledger, reception, Access(settings.api_keys))

    def start(self) -> None:
        """Starts a writer a partition."""
        self.writers = [
            GroupCommit(self.ledger.commit, on_commit=self.appended.tell, on_idle=self.ledger.database.tidy)
            for _ in range(self.ledger.partitions)
        ]

    async def stop(self) -> None:
        """Commits what waits, then closes."""
        self.closing.set()
        await asyncio.gather(*(writer.close() for writer in self.writers))
        self.ledger.close()

    def submit(self, item: Item) -> asyncio.Future[Outcome]:
        """The outcome of an item once it is on disk, by the writer of its partition."""
        return self.writers[item.partition].submit(item)
