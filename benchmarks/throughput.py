"""From file to finished: 1,000,000 rows (500 MB) into a destination without limits that answers at once.

    python benchmarks/throughput.py [ROWS]

The destination is a bare HTTP server in a process of its own: it decodes what it must to answer as HubSpot does, and
stores nothing, so that what is measured is the sync.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from bars import at_least, at_most, ended, exactly
from floor import slowness

NAMES = ("email", "firstname", "lastname", "company", "jobtitle", "city", "address", "phone", "website", "message")


class Input(msgspec.Struct):
    id: str
    objectWriteTraceId: str  # noqa: N815


class Batch(msgspec.Struct):
    inputs: list[Input]


class Sink(asyncio.Protocol):
    """Answers every batch with a result per input, everything else with what an account must know."""

    def connection_made(self, transport):
        self.transport = transport
        self.data = b""

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            reply = self.answer(head, body)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply) + reply
            )

    @staticmethod
    def answer(head: bytes, body: bytes) -> bytes:
        if b"/account-info/" in head:
            return b'{"portalId":1,"timeZone":"UTC","accountType":"SANDBOX"}'
        if b"/properties/" in head:
            flags = {"type": "string", "fieldType": "text", "options": [], "hasUniqueValue": False}
            return json.dumps({"results": [{"name": name, "label": name, **flags} for name in NAMES]}).encode()
        inputs = msgspec.json.decode(body, type=Batch).inputs
        results = [
            {
                "id": each.objectWriteTraceId,
                "properties": {"email": each.id},
                "objectWriteTraceId": each.objectWriteTraceId,
            }
            for each in inputs
        ]
        return msgspec.json.encode({"status": "COMPLETE", "results": results})


def sink() -> None:
    import uvloop

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(serve())


def write(path: Path, rows: int) -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(2000)]
    order = list(range(rows))
    rng.shuffle(order)
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(NAMES) + "\n")
        for i in order:
            some = rng.choices(words, k=48)
            cells = [f"contact{i}@example.com", *(" ".join(some[k * 6 : k * 6 + 6]) for k in range(8)), f"{i:08}"]
            file.write(",".join(cells) + "\n")


def sync(folder: str, port: str) -> None:
    import headway

    portal = headway.account(
        "hubspot", token="benchmark", base_url=f"http://127.0.0.1:{port}", state=f"{folder}/limits.db"
    )
    portal.tier = replace(portal.tier, limits=())
    began = time.perf_counter()
    run = headway.Sync(f"{folder}/contacts.csv", portal["contacts"], key="email", store=f"{folder}/records.db")
    report = run.start()
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "delivered": report.delivered,
                "seconds": took,
                "peak_mb": peak,
                "parts": dict(report.parts),
                "requests": report.requests,
            }
        )
    )


def main() -> int:
    if sys.argv[1:2] == ["--sink"]:
        sink()
        return 0
    if sys.argv[1:2] == ["--sync"]:
        sync(*sys.argv[2:4])
        return 0
    slow = slowness()
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder:
        write(Path(folder) / "contacts.csv", rows)
        megabytes = Path(folder, "contacts.csv").stat().st_size / 1e6
        server = subprocess.Popen([sys.executable, __file__, "--sink"], stdout=subprocess.PIPE, text=True)
        try:
            port = server.stdout.readline().strip()
            done = subprocess.run(
                [sys.executable, __file__, "--sync", folder, port], capture_output=True, text=True, check=False
            )
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()
        if done.returncode:
            print(done.stderr)
            return 1
        told = json.loads(done.stdout)
    rate = told["delivered"] / told["seconds"]
    print(
        f"{rows:,} rows, {megabytes:.0f} MB: {told['delivered']:,} delivered in {told['seconds']:.1f} s, {told['requests']:,} calls"
    )
    for part, seconds in sorted(told["parts"].items(), key=lambda each: -each[1]):
        print(f"  {part:<10} {seconds:7.2f} s  {seconds / told['seconds']:5.1%}")
    exactly("delivered", told["delivered"], rows)
    at_least("records, file to finished", rate, 15_000 / slow, "/s")
    at_most("peak memory", told["peak_mb"], 250, " MB")
    return ended()


if __name__ == "__main__":
    sys.exit(main())
