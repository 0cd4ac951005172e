"""Webhooks are signed, in and out, in one way: HMAC-SHA256 over the moment and the body, as text ``MOMENT.BODY``."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping

from sretoolkit.secrets import Secret

MOMENT, SIGNATURE, DELIVERY = "x-sretoolkit-timestamp", "x-sretoolkit-signature", "x-sretoolkit-delivery"
WINDOW = 300.0


def signed(secret: Secret, body: bytes, *, now: float | None = None) -> dict[str, str]:
    """The headers that prove where a body comes from, and when it was sent."""
    moment = str(int(time.time() if now is None else now))
    return {MOMENT: moment, SIGNATURE: f"sha256={_code(secret, moment, body)}"}


def wrong(secret: Secret, body: bytes, headers: Mapping[str, str], *, now: float | None = None) -> str:
    """What is wrong with a body's signature; "" when nothing is. An old one is: somebody may have kept it."""
    moment, given = headers.get(MOMENT, ""), headers.get(SIGNATURE, "")
    if not (moment.isascii() and moment.isdecimal() and len(moment) < 13):
        return f"there is no {MOMENT}"
    if not hmac.compare_digest(given.encode(), f"sha256={_code(secret, moment, body)}".encode()):
        return f"{SIGNATURE} is not the one of this body and moment"
    if abs((time.time() if now is None else now) - int(moment)) > WINDOW:
        return f"it was signed more than {WINDOW:.0f} s ago, or the clocks differ"
    return ""


def _code(secret: Secret, moment: str, body: bytes) -> str:
    return hmac.digest(secret.reveal().encode(), moment.encode() + b"." + body, "sha256").hex()
