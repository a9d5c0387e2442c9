"""Tokens of a Keycloak realm.

MONAI Label 0.8.5 names no algorithm to PyJWT, which refuses every token then, and asks the realm in the event loop.
"""

from __future__ import annotations

from threading import Lock
from typing import Annotated, Any

import jwt
import requests
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user import auth

# with a public key; one that is shared would let whoever knows the public key sign
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
UNREACHED = "login: the realm of MONAI_LABEL_AUTH_REALM_URI does not answer"
ASK = Lock()  # the key is asked for once
router = APIRouter(tags=["Auth"])


def add_login(app: FastAPI) -> None:
    """Check tokens with this module, where authentication is on."""
    if settings.MONAI_LABEL_AUTH_ENABLE:
        app.dependency_overrides[auth.get_current_user] = current_user


async def current_user(token: Annotated[str, Depends(auth.oauth2_scheme)]) -> auth.User:
    """The user of a token."""
    return await run_in_threadpool(read_token, token)


def read_token(token: str) -> auth.User:
    """The user of a token.

    Raises:
        HTTPException: it is not valid (401), or the realm can't be asked for its key (503).
    """
    try:
        with ASK:
            key = auth.get_public_key(settings.MONAI_LABEL_AUTH_REALM_URI)
    except (requests.RequestException, LookupError, ValueError) as error:
        raise HTTPException(503, UNREACHED, {"Retry-After": "10"}) from error
    try:
        claims = jwt.decode(token, key, algorithms=ALGORITHMS, options={"verify_aud": False, "require": ["exp"]})
    except jwt.InvalidTokenError as error:
        refused = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "token: is not valid or has expired", refused) from error
    roles: Any = claims
    for part in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        roles = roles.get(part) if isinstance(roles, dict) else None
    return auth.User(
        username=str(claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME, "")),
        roles=[role for role in roles if isinstance(role, str)] if isinstance(roles, list) else [],
    )


@router.post("/auth/token", summary="Fetch a token")
def fetch_token(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
    """Of the realm, for a name and password."""
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return {"access_token": None, "token_type": None}
    try:
        return _asked(form)
    except (requests.RequestException, LookupError, ValueError) as error:
        raise HTTPException(503, UNREACHED) from error


def _asked(form: OAuth2PasswordRequestForm) -> Any:
    given = {"client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "username": form.username, "password": form.password}
    answer = requests.post(auth.token_uri(), data={**given, "grant_type": "password"}, timeout=30)
    if answer.status_code in (400, 401):
        raise HTTPException(401, "login: name or password is wrong")
    answer.raise_for_status()
    return answer.json()
