"""What a team writes in an afternoon: verify GitHub's signature, publish to JetStream, answer.

python benchmarks/naive_app.py nats://127.0.0.1:4222 8000 SECRET
"""

import hashlib
import hmac
import sys
from contextlib import asynccontextmanager

import nats
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

URL, PORT, SECRET = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()


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
    headers = {"Nats-Msg-Id": request.headers["x-github-delivery"]}
    await request.app.state.stream.publish(
        f"naive.{request.headers['x-github-event']}", body, headers=headers
    )
    return JSONResponse({"status": "accepted"}, 202)


app = Starlette(routes=[Route("/webhooks/github", webhook, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")
