"""Refreshes OAuth tokens before they expire: python3 -m everdue.worker refresh_tokens:refresh

The payload is what the source knows: {"url": "https://host/token", "client_id": ...,
"refresh_token": ...}. The memo is the newest answer of the server, with its access_token. A token
is refreshed when four fifths of its life are over. What the server refuses (400, 401) is parked.
"""
import json
import urllib.error
import urllib.parse
import urllib.request

import everdue


@everdue.handler(queue="tokens", credit=4)
def refresh(task: everdue.Task) -> dict:
    form = {"grant_type": "refresh_token", "client_id": task.payload["client_id"],
            "refresh_token": (task.memo or task.payload)["refresh_token"]}
    try:
        with urllib.request.urlopen(task.payload["url"], urllib.parse.urlencode(form).encode(),
                                    timeout=20) as answer:
            token = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (400, 401):
            return {"outcome": "park", "error": f"the server refused the token: {error}"}
        raise  # anything else is tried again, with back-off
    # A server that rotates refresh tokens sends a new one; otherwise the old one goes on.
    token.setdefault("refresh_token", form["refresh_token"])
    return {"memo": token, "in": 0.8 * token["expires_in"], "note": "refreshed"}
