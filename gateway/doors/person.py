"""Whoever sends a request, and the three roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sluice.ledger.users import Account


class Role(IntEnum):
    """What a person may do; each role may do what those before it may."""

    NONE = 0
    """Nothing but sign in."""
    VIEWER = 1
    """Look at shared jobs, their results and the models."""
    USER = 2
    """Classify pictures, upload archives, submit jobs on permitted sources, report wrong answers."""
    ADMIN = 3
    """See and change everybody's; promote models, manage people."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever sends a request; id 0 is everybody who isn't signed in."""

    id: int
    name: str
    email: str
    role: Role

    @property
    def is_signed_in(self) -> bool:
        """Return whether this is one person, not anybody."""
        return self.id > 0

    @property
    def is_admin(self) -> bool:
        """Return whether this person may see and change everybody's."""
        return self.role >= Role.ADMIN


def person_of(account: Account) -> Person:
    """Return the person whose account it is."""
    return Person(account.id, account.name, account.email, Role[account.role.upper()])
