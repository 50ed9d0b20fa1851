"""What `ledger verify` runs: reads the log as it is stored, and says where it is no longer what was recorded.

It trusts neither our code nor the database: every hash is computed again from the stored bytes, in short read transactions
beside a running server and with flat memory. After a broken link the chain is followed from the hash that is stored there,
so that one edit is one finding and not one for every event behind it.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from struct import error as StructError
from typing import NamedTuple

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from ledger.chain import event_hash, genesis_hash
from ledger.errors import LedgerError, MalformedQuestion
from ledger.events import Receipt, RequestAccepted, stream_id
from ledger.json_values import canonical, parse_object
from ledger.ledger import Ledger
from ledger.positions import Position
from ledger.reception import quarantine_id_of
from ledger.sends import parse_send, send_id_of
from ledger.signatures import Secret
from ledger.store.log import Head, LogRow
from ledger.store.registers import decode_receipt
from ledger.store.walk import Place, duplicate_facts, events_between, places, quarantine_rows, rows_elsewhere, send_rows
from ledger.store.walk import uneven_streams as streams_with_holes
from ledger.webhooks import FACT_KEY_BYTES, fact_key
