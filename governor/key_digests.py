"""Which key a provider refused, told without keeping the key: a few bytes of a digest that is salted for this folder.

Works inside the caller's transaction. What follows from it is `governor.tier_states`.
"""

import secrets
from collections.abc import Sequence
from hashlib import blake2b

from pydantic import SecretStr
from sqlalchemy import Connection, Table

from governor.state.models import Setting

SETTING: Table = Setting.__table__  # type: ignore[assignment]  # declared as FromClause
SALT_KEY, SALT_BYTES = "key_salt", 16
# Enough to tell one key from another, and too little to find a key by.
DIGEST_BYTES = 8


def digest(db: Connection, key: Sequence[SecretStr], *, make_salt: bool = False) -> str | None:
    """The digest of a key and what belongs to it; None where no salt was made yet, and so no digest kept.

    Args:
        make_salt: in a transaction that writes.
    """
    salt = db.execute(SETTING.select().where(SETTING.c.key == SALT_KEY)).first()
    if salt is None and not make_salt:
        return None
    value = salt.value if salt is not None else secrets.token_hex(SALT_BYTES)
    if salt is None:
        db.execute(SETTING.insert(), {"key": SALT_KEY, "value": value})
    said = "\0".join(secret.get_secret_value() for secret in key)
    return blake2b(said.encode(), digest_size=DIGEST_BYTES, key=bytes.fromhex(value)).hexdigest()
