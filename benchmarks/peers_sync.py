"""50,000 records, 100 per call, a strict rolling 100 per 10 s, 50 ms latency: Headway beside dlt and airbyte-cdk.

    python -m venv --without-pip peers && pip --python peers/bin/python install dlt==1.31.0 airbyte-cdk==7.39.1
    python benchmarks/peers_sync.py peers/bin/python

Every client gets a mock of its own, which counts what it refuses. The best possible is 40.5 s. The peers are used as
their documentation shows: a custom destination with retries; a moving-window call budget in ten threads.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import at_most, ended, exactly
from headway.mock.config import MockConfig
from headway.mock.server import serve

RECORDS, BEST = 50_000, 40.5

HEADWAY = """
import sys, headway
rows = ({"email": f"a{i}@example.com", "firstname": "Ada"} for i in range(int(sys.argv[2])))
report = headway.Sync(rows, headway.account("hubspot", token="pat-x", base_url=sys.argv[1])["contacts"], key="email").start()
assert report.delivered == int(sys.argv[2]), report
"""

DLT = """
import sys, time, dlt, requests
session = requests.Session(); session.headers["Authorization"] = "Bearer pat-x"
@dlt.destination(batch_size=100, name="hub")
def hub(items, table):
    inputs = [{"id": i["email"], "idProperty": "email", "properties": {"firstname": i["firstname"]}} for i in items]
    while True:
        reply = session.post(sys.argv[1] + "/crm/v3/objects/contacts/batch/upsert", json={"inputs": inputs})
        if reply.status_code != 429:
            reply.raise_for_status(); return
        time.sleep(1)
pipeline = dlt.pipeline("p", destination=hub(), pipelines_dir=sys.argv[3])
pipeline.run(({"email": f"a{i}@example.com", "firstname": "Ada"} for i in range(int(sys.argv[2]))), table_name="contacts")
"""

AIRBYTE = """
import sys, logging, datetime
from concurrent.futures import ThreadPoolExecutor
from airbyte_cdk.sources.streams.call_rate import HttpAPIBudget, HttpRequestMatcher, MovingWindowCallRatePolicy, Rate
from airbyte_cdk.sources.streams.http.http_client import HttpClient
logging.disable(logging.CRITICAL)
policy = MovingWindowCallRatePolicy([Rate(100, datetime.timedelta(seconds=10))], [HttpRequestMatcher()])
client = HttpClient("hub", logging.getLogger("x"), api_budget=HttpAPIBudget(policies=[policy]))
def send(start):
    inputs = [{"id": f"a{i}@example.com", "idProperty": "email", "properties": {"firstname": "Ada"}} for i in range(start, start + 100)]
    client.send_request("POST", sys.argv[1] + "/crm/v3/objects/contacts/batch/upsert", request_kwargs={},
                        headers={"Authorization": "Bearer pat-x"}, json={"inputs": inputs})
with ThreadPoolExecutor(10) as pool:
    list(pool.map(send, range(0, int(sys.argv[2]), 100)))
"""


def measured(name: str, python: str, code: str, *, known: bool = False) -> tuple[float, int, int]:
    """Seconds, calls refused and records stored."""
    with serve(MockConfig(latency=0.05)) as mock, tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "client.py"
        program.write_text(code)
        environment = {"PATH": "/usr/bin:/bin", "HOME": folder, "HEADWAY_STATE": f"{folder}/limits.db"}
        if known:  # an earlier sync of one record: whose account it is and its schema are remembered for a day
            subprocess.run([python, str(program), mock.url, "1", folder], cwd=folder, env=environment, check=True)
            time.sleep(10.5)
        began = time.perf_counter()
        done = subprocess.run(
            [python, str(program), mock.url, str(RECORDS), folder], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        stats = mock.stats()
    if done.returncode:
        print(f"{name}: ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    stored = sum(stats["objects"].values())
    print(
        f"{name:34} {seconds:6.1f} s, {stats['requests']} calls, {stats['rate_limited']} refused, {stored:,} stored",
        flush=True,
    )
    return seconds, stats["rate_limited"], stored


def main() -> int:
    measured("headway, first sync ever", sys.executable, HEADWAY)
    seconds, refused, stored = measured("headway", sys.executable, HEADWAY, known=True)
    exactly("stored", stored, RECORDS)
    exactly("refused", refused, 0)
    at_most("of the best possible", seconds / BEST, 1.07)
    if len(sys.argv) == 1:
        print("left out: dlt and airbyte-cdk (no interpreter that has them was named)")
        return ended()
    for name, code in (("dlt", DLT), ("airbyte-cdk", AIRBYTE)):
        at_most(f"of the time of {name}", seconds / measured(name, sys.argv[1], code)[0], 0.95)
    return ended()


if __name__ == "__main__":
    sys.exit(main())
