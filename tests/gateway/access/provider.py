"""A small OpenID provider, as a process of its own: `python provider.py PORT`.

It holds clients to the rules (redirect address, PKCE, credentials, one use of a code), and breaks them itself
where a test asks for it: `/as/{user}?fault=...` says who is logged in there, and what it does wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "tidemill", "s3cret:%/+ of the client"
REDIRECT = "http://127.0.0.1:8081/login/callback"
USERS: dict[str, dict[str, Any]] = {
    "ada": {"email": "ada@example.com", "email_verified": True, "groups": ["ops", "other"]},
    "bob": {"email": "bob@example.com", "groups": []},
    "eve": {"email": "ada@example.com", "email_verified": False, "groups": ["ops"]},
    "nameless": {"groups": ["ops"]},
}


class Provider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.user, self.fault = "ada", ""
        self.keys = [self.new_key()]
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, str] = {}

    @staticmethod
    def new_key() -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})

    async def become(self, request: Request) -> Response:
        self.user, self.fault = request.path_params["user"], request.query_params.get("fault", "")
        if self.fault == "rotated":
            self.keys = [self.new_key()]
        return Response()

    async def metadata(self, _: Request) -> Response:
        if self.fault == "away":
            return Response(status_code=503)
        return JSONResponse(
            {
                "issuer": "https://other.example" if self.fault == "renamed" else self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
            }
        )

    async def jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        sound = (
            asked["response_type"] == "code"
            and asked["client_id"] == CLIENT
            and asked["redirect_uri"] == REDIRECT
            and "openid" in asked["scope"].split()
            and asked["code_challenge_method"] == "S256"
            and len(asked["code_challenge"]) == 43
        )
        if not sound:
            return Response(status_code=400)
        if self.fault == "denied":
            answer = {"error": "access_denied", "state": asked["state"]}
            return RedirectResponse(f"{REDIRECT}?{urlencode(answer)}", 302)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked | {"user": self.user, "fault": self.fault}
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        if self.fault == "mixed-up":
            answer["iss"] = "https://other.example"
        return RedirectResponse(f"{REDIRECT}?{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return JSONResponse({"error": "invalid_client"}, 401)
        name, _, secret = base64.b64decode(credentials).decode().partition(":")
        if (unquote(name), unquote(secret.replace("+", " "))) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != REDIRECT
            or challenge != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = secrets.token_urlsafe(16)
        self.tokens[access] = asked["user"]
        token = self.id_token(asked)
        return JSONResponse({"access_token": access, "token_type": "Bearer", "id_token": token})

    def id_token(self, asked: dict[str, str]) -> str:
        now, fault = int(time.time()), asked["fault"]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": asked["user"],
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        claims |= {
            "wrong-issuer": {"iss": "https://other.example"},
            "wrong-audience": {"aud": ["other"]},
            "wrong-party": {"aud": [CLIENT, "other"], "azp": "other"},
            "expired": {"iat": now - 900, "exp": now - 600},
            "early": {"iat": now + 600, "nbf": now + 600, "exp": now + 900},
            "endless": {"exp": "never"},
            "wrong-nonce": {"nonce": "other"},
        }.get(fault, {})
        header = {"alg": "RS256", "kid": self.keys[0].kid}
        if fault == "unsigned":
            parts = (b'{"alg":"none"}', json.dumps(claims).encode(), b"")
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        if fault == "confused":  # an HMAC whose secret is the public key
            key = OctKey.import_key(self.keys[0].as_pem(private=False))
            return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])
        if fault == "foreign-key":
            return jwt.encode(header, claims, self.new_key())
        return jwt.encode(header, claims, self.keys[0])

    async def userinfo(self, request: Request) -> Response:
        user = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if user is None:
            return Response(status_code=401)
        subject = "somebody else" if self.fault == "two-people" else user
        return JSONResponse({"sub": subject, **USERS[user]})

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/as/{user}", self.become),
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/jwks", self.jwks),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo),
            ]
        )


if __name__ == "__main__":
    port = int(sys.argv[1])
    app = Provider(f"http://127.0.0.1:{port}").application()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
