"""The exchange itself: matching, money, fences, faults and the ledger that judges. It knows nothing of the kernel."""

from __future__ import annotations

from exchange_kernel_paper.exchange.clock import LoopClock, ManualClock, SystemVenueClock, VenueClock
from exchange_kernel_paper.exchange.codec import decode, encode, reader
from exchange_kernel_paper.exchange.codes import Code, Refusal, Why
from exchange_kernel_paper.exchange.exchange import Exchange
from exchange_kernel_paper.exchange.faults import KINDS, Faults
from exchange_kernel_paper.exchange.front import Front, sign
from exchange_kernel_paper.exchange.house import House
from exchange_kernel_paper.exchange.journal import FileJournal, read_journal
from exchange_kernel_paper.exchange.ledger import Ledger, OrderRecord
from exchange_kernel_paper.exchange.markets import Market, default_markets
from exchange_kernel_paper.exchange.settings import FENCES, SettingError, Settings
from exchange_kernel_paper.exchange.streams import Subscription
from exchange_kernel_paper.exchange.wire import NeverSent, NoAnswer, Wire

__all__ = [
    "FENCES",
    "KINDS",
    "Code",
    "Exchange",
    "Faults",
    "FileJournal",
    "Front",
    "House",
    "Ledger",
    "LoopClock",
    "ManualClock",
    "Market",
    "NeverSent",
    "NoAnswer",
    "OrderRecord",
    "Refusal",
    "SettingError",
    "Settings",
    "Subscription",
    "SystemVenueClock",
    "VenueClock",
    "Why",
    "Wire",
    "decode",
    "default_markets",
    "encode",
    "read_journal",
    "reader",
    "sign",
]
