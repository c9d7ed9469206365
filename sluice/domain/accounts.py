"""What an account of the gateway may be: its name, address and password, for pages, API and command line alike."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sluice.errors import ConfigurationError

if TYPE_CHECKING:
    from pwdlib import PasswordHash

NAME_MAX: Final = 50
EMAIL_MAX: Final = 254
EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
PASSWORD_MIN: Final = 10
PASSWORD_MAX: Final = 200


class AccountRole(StrEnum):
    """What somebody with an account may do; docs/gateway.md explains the roles."""

    VIEWER = "viewer"
    USER = "user"
    ADMIN = "admin"


def check_name(name: str) -> str:
    """Return a name as it is kept, or say what a name is."""
    name = name.strip()
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise ConfigurationError(f"a name has 1 to {NAME_MAX} characters that can be printed")
    return name


def check_email(email: str) -> str:
    """Return an e-mail address without blanks around it, or say what one looks like."""
    email = email.strip()
    if not EMAIL.fullmatch(email) or len(email) > EMAIL_MAX or not email.isprintable():
        raise ConfigurationError("this is no e-mail address: it looks like name@example.com")
    return email


def check_password(password: str, *known: str) -> None:
    """Refuse a password that is too short, too long, or what everybody would try first."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise ConfigurationError(
            f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters, this one has {len(password)}"
        )
    if len(set(password)) == 1 or password.lower() in {each.lower() for each in known}:
        raise ConfigurationError("this password is too easy to guess: choose another one")


def password_hasher() -> PasswordHash:
    """Return what hashes passwords, as argon2id."""
    from pwdlib import PasswordHash  # noqa: PLC0415 - most who need a word of this package hash nothing
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415 - the same

    return PasswordHash((Argon2Hasher(),))
