"""A world in which stores act, and the few things that every test of a store does."""

from collections.abc import Callable
from typing import Protocol

from headway.stores.interface import Store
from headway.stores.model import BadRow, Dead, Done, Loaded, RunConfig


class World(Protocol):
    now: float

    def open(self, pid: int = 1) -> Store: ...

    def kill(self, pid: int) -> None: ...


CONTACTS = RunConfig("contacts.csv", "hubspot:contacts", {"key": "email"}, fingerprint="f1", reopen="/x/contacts.csv")


def rows(*keys: str, group: str = "", first: int = 2) -> list[Loaded]:
    return [Loaded(k, b'{"email":"%s","n":%d}' % (k.encode(), n), n, group) for n, k in enumerate(keys, first)]


def bad(line: int, key: str = "", code: str = "RAGGED_ROW") -> BadRow:
    return BadRow(line, key, code, f"line {line} is bad", b'{"email":"?"}')


def loaded(store: Store, *keys: str, config: RunConfig = CONTACTS) -> str:
    run = store.create_run(config)
    store.load(run, rows(*keys), [], "end")
    store.finish_load(run)
    return run


def keys(claim) -> list[str]:
    return [] if claim is None else [record.key for record in claim.records]


def settle(store: Store, run: str, claim, how: Callable, **reply) -> None:
    store.finish(run, claim, [how(record) for record in claim.records], **reply)


def die(record) -> Dead:
    return Dead(record.id, "INVALID", "no such thing")


def done(record) -> Done:
    return Done(record.id, f"remote-{record.key}")
