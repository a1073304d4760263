"""Do the platform credentials work? Learnt by asking for something that cannot exist."""

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode

from harness.preflight.checks import Check, Status
from harness.targets import Terms

WITHIN_S = 10.0
NOBODY = "00000000-0000-4000-8000-000000000000"
"""No conversation has this id: 404 says that we may ask, 403 that we may not."""
NAME = "platform"


def check_credentials(terms: Terms) -> Check:
    """Sign in with the client whose names of environment variables the target gives."""
    client = os.environ.get(terms.client_id_env, "") if terms.client_id_env else ""
    secret = os.environ.get(terms.client_secret_env, "") if terms.client_secret_env else ""
    if not terms.client_id_env or not terms.client_secret_env:
        text = "no credentials named (client_id_env, client_secret_env): no audit by the platform"
        return Check(name=NAME, status=Status.SKIPPED, text=text)
    if not client or not secret:
        text = f"{terms.client_id_env} and {terms.client_secret_env} are not both set"
        return Check(name=NAME, status=Status.WARN, text=text)
    if not terms.api_url:
        text = "where the Platform API is, is not known: write api_url"
        return Check(name=NAME, status=Status.WARN, text=text)
    try:
        token = _sign_in(terms, client, secret)
        status = _ask(terms, f"/api/v2/conversations/{NOBODY}", token)
    except urllib.error.HTTPError as error:
        text = f"the sign-in was refused: HTTP {error.code}"
        return Check(name=NAME, status=Status.FAIL, text=text)
    except (OSError, ValueError, KeyError) as error:
        text = f"the Platform API can't be asked: {error}"
        return Check(name=NAME, status=Status.FAIL, text=text)
    if status == 404:
        return Check(name=NAME, status=Status.OK, text="signed in, may read conversations")
    if status == 403:
        text = "signed in, but may not read conversations (conversation:communication:view)"
        return Check(name=NAME, status=Status.WARN, text=text)
    return Check(name=NAME, status=Status.WARN, text=f"signed in; it answered HTTP {status}")


def _sign_in(terms: Terms, client: str, secret: str) -> str:
    base = terms.api_url.replace("https://api.", "https://login.", 1)
    request = urllib.request.Request(
        f"{base}/oauth/token",
        data=urllib.parse.urlencode({"grant_type": "client_credentials"}).encode(),
        headers={"Authorization": "Basic " + b64encode(f"{client}:{secret}".encode()).decode()},
    )
    with _opener(terms).open(request, timeout=WITHIN_S) as answer:
        return str(json.load(answer)["access_token"])


def _ask(terms: Terms, path: str, token: str) -> int:
    request = urllib.request.Request(
        terms.api_url + path, headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with _opener(terms).open(request, timeout=WITHIN_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _opener(terms: Terms) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if terms.api_url.startswith("https"):
        context = ssl.create_default_context(cafile=terms.target.ca_file)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)
