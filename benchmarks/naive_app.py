"""What a team writes in an afternoon: verify GitHub's signature, read the JSON, publish to JetStream, answer.

python benchmarks/naive_app.py nats://127.0.0.1:4222 8000 SECRET [tuned]

`tuned` leaves out what costs time and isn't asked for: reading the JSON, and uvicorn's access log.
"""

import hashlib
import hmac
import json
import sys
from contextlib import asynccontextmanager

import nats
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

URL, PORT, SECRET, TUNED = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), "tuned" in sys.argv


@asynccontextmanager
async def lifespan(app):  # noqa: ANN001, ANN201 - as it would be written
    client = await nats.connect(URL)
    app.state.stream = client.jetstream()
    await app.state.stream.add_stream(name="NAIVE", subjects=["naive.>"], max_bytes=1 << 30)
    yield
    await client.close()


async def webhook(request):  # noqa: ANN001, ANN201 - as it would be written
    body = await request.body()
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-hub-signature-256", "")):
        return JSONResponse({"error": "bad signature"}, 401)
    action = "" if TUNED else json.loads(body).get("action", "")
    subject = ".".join(filter(None, ("naive", request.headers["x-github-event"], action)))
    headers = {"Nats-Msg-Id": request.headers["x-github-delivery"]}
    await request.app.state.stream.publish(subject, body, headers=headers)
    return JSONResponse({"status": "accepted"}, 202)


app = Starlette(routes=[Route("/webhooks/github", webhook, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, access_log=not TUNED)
