import pytest

from headway.sqlite.process import Process
from headway.stores.sqlite.store import SqliteStore


class SqliteWorld:
    """One SQLite file that several processes open; they die when told."""

    def __init__(self, file):
        self.file = file
        self.now = 1_795_460_000.0
        self.killed = set()
        self.stores = []

    def open(self, pid=1):
        store = SqliteStore(self.file, clock=lambda: self.now, me=Process(pid, f"start-{pid}"), alive=self.alive)
        self.stores.append(store)
        return store

    def alive(self, pid, start):
        assert start == f"start-{pid}"
        return pid not in self.killed

    def kill(self, pid):
        self.killed.add(pid)

    def close(self):
        for store in self.stores:
            store.close()


@pytest.fixture
def world(tmp_path):
    world = SqliteWorld(tmp_path / "records.db")
    yield world
    world.close()
