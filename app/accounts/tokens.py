"""How a token reads, and how it is recognised. Pure: no database, no clock.

A token is `stw_<prefix>_<secret>`: 12 hexadecimal digits that find its row, 64 that prove it is
the caller's. The row keeps the SHA-256 of the secret. A slow, salted hash is for passwords, which
people choose and others can therefore guess; a secret of 256 random bits can't be guessed at any
speed, and it is hashed on every request: a fast hash is the right one.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

KIND = "stw"
_PATTERN = re.compile(rf"{KIND}_([0-9a-f]{{12}})_([0-9a-f]{{64}})")


class Credential(NamedTuple):
    """The two parts of a token as it was presented or made."""

    prefix: str
    secret: str

    @property
    def text(self) -> str:
        return f"{KIND}_{self.prefix}_{self.secret}"

    @property
    def digest(self) -> str:
        """What is stored: SHA-256 of the secret, in hexadecimal."""
        return hashlib.sha256(self.secret.encode("ascii")).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether this is the token of that stored digest; takes as long whatever the answer."""
        return hmac.compare_digest(self.digest, digest)


def generate() -> Credential:
    return Credential(prefix=secrets.token_hex(6), secret=secrets.token_hex(32))


def parse(text: str) -> Credential | None:
    """The parts of a token, or None when the text does not read like one."""
    match = _PATTERN.fullmatch(text)
    return Credential(*match.groups()) if match else None
