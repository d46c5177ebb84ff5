"""A platform whose limit is enforced by code that nobody here wrote: Flask-Limiter's exact moving window.

Speaks just enough of HubSpot for a sync of contacts, with random delays before the limiter sees a request and after.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask, Response, request
from flask_limiter import Limiter as FlaskLimiter
from werkzeug.serving import make_server


@dataclass
class FlaskPlatform:
    url: str = ""
    calls: int = 0
    refused: int = 0
    stored: set[str] = field(default_factory=set)


def _app(platform: FlaskPlatform, limit: str, jitter: float) -> Flask:
    app = Flask("platform")
    rng = random.Random(1)
    limiter = FlaskLimiter(lambda: "portal", storage_uri="memory://", strategy="moving-window")

    @app.before_request
    def there() -> None:
        time.sleep(rng.uniform(0, jitter))

    limiter.init_app(app)  # its own before_request runs after the delay: requests are counted in order of arrival

    @app.after_request
    def back(response: Response) -> Response:
        platform.calls += 1
        platform.refused += response.status_code == 429
        time.sleep(rng.uniform(0, jitter))
        return response

    @app.get("/account-info/<version>/details")
    def details(version: str):
        del version
        return {"portalId": 42, "accountType": "STANDARD", "timeZone": "UTC"}

    @app.get("/crm/v3/properties/contacts")
    def properties():
        names = ("email", "firstname", "lastname", "company", "city", "phone", "jobtitle")
        plain = {"type": "string", "fieldType": "text", "options": [], "hasUniqueValue": False}
        flags = {"calculated": False, "hidden": False, "modificationMetadata": {"readOnlyValue": False}}
        return {"results": [{"name": name, "label": name, **plain, **flags} for name in names]}

    @app.post("/crm/v3/objects/contacts/batch/upsert")
    def upsert():
        inputs = json.loads(request.data)["inputs"]
        platform.stored.update(each["id"] for each in inputs)
        results = [
            {
                "id": str(i),
                "properties": {"email": each["id"]},
                "new": True,
                "objectWriteTraceId": each["objectWriteTraceId"],
            }
            for i, each in enumerate(inputs)
        ]
        random.Random(len(results)).shuffle(results)
        return {"status": "COMPLETE", "results": results}

    shared = limiter.shared_limit(limit, scope="account")
    for view in ("details", "properties", "upsert"):
        app.view_functions[view] = shared(app.view_functions[view])
    return app


@contextmanager
def flask_platform(limit: str = "100 per 10 seconds", jitter: float = 0.1) -> Iterator[FlaskPlatform]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    platform = FlaskPlatform()
    server = make_server("127.0.0.1", 0, _app(platform, limit, jitter), threaded=True)
    platform.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
