"""Why an object is in quarantine, and the read failures that don't quarantine it.

Only an object's own fault is a reason. Overload, a database outage or an absent TorchServe aren't: processes wait for
those to end (invariant I5). Model archives include this file, so it imports only the standard library.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A code in `objects.reason`, with its meaning and what to do about it."""

    description: str
    remedy: str

    def __new__(cls, code: str, description: str = "", remedy: str = "") -> Self:
        """Make the member of this code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.description = description
        member.remedy = remedy
        return member

    @classmethod
    def of_code(cls, code: str) -> Self | None:
        """Return the reason with this code; None if this version doesn't know it."""
        return next((reason for reason in cls if reason == code), None)

    EMPTY = (
        "empty",
        "The object has 0 bytes.",
        "Upload it again, then replay.",
    )
    NOT_AN_IMAGE = (
        "not_an_image",
        "The bytes aren't an image in a supported format (text, HTML, a wrong extension).",
        "Nothing, or upload the picture as JPEG, PNG or WebP, then replay.",
    )
    TRUNCATED = (
        "truncated",
        "The image ends too early: the upload was probably cut off.",
        "Upload it again, then replay.",
    )
    CORRUPT = (
        "corrupt",
        "The image's header can be read, but its pixels can't.",
        "Upload the original again, then replay.",
    )
    TOO_MANY_PIXELS = (
        "too_many_pixels",
        "The image has more pixels than SLUICE_IMAGE_MAX_PIXELS.",
        "Raise that setting and the consumers' memory limit with it, then replay; or upload it smaller.",
    )
    TOO_LARGE = (
        "too_large",
        "The object has more bytes than SLUICE_OBJECT_MAX_BYTES.",
        "Raise that setting and the memory limits with it, then replay; or upload it smaller.",
    )
    NOT_FOUND = (
        "not_found",
        "The object was deleted between the listing and the read.",
        "Nothing; if it is uploaded again, replay (a job with --watch finds it by itself).",
    )
    ACCESS_DENIED = (
        "access_denied",
        "The bucket can be listed, but this object can't be read with these credentials.",
        "Allow the role s3:GetObject on the object and kms:Decrypt on its key, then replay.",
    )
    UNREADABLE = (
        "unreadable",
        "The storage returns an error each time this object is read.",
        "Read it by hand, repair it in the storage or upload it again, then replay.",
    )
    UNLISTABLE = (
        "unlistable",
        "It can't be stored or read as it is listed: its key is too long, or it has no usable ETag or size.",
        "Rename the object, or make the server return an ETag, and submit again (a job with --watch finds it).",
    )
    ARCHIVED = (
        "archived",
        "The object is in an archive storage class.",
        "Restore it, then replay.",
    )
    CHANGING = (
        "changing",
        "The object changed each time it was read.",
        "Replay it once nobody writes to it any more.",
    )
    CHANGED_SINCE = (
        "changed_since",
        "The key no longer holds the bytes that the earlier job met, whose objects this job repeats (--again).",
        "Submit the source itself, without --again, to have the new bytes classified.",
    )
    REJECTED_BY_MODEL = (
        "rejected_by_model",
        "The model fails on this image, alone and each time, but predicts others: see the detail.",
        "Fix the model or its handler according to the detail, then replay.",
    )
    ARCHIVE_DAMAGED = (
        "archive_damaged",
        "The archive can't be read to its end: it is cut off, damaged, or neither zip nor tar; the detail says where.",
        "Upload it again and submit again (a job with --watch finds it): a replay doesn't read the archive again.",
    )
    ARCHIVE_TOO_LARGE = (
        "archive_too_large",
        "The archive has more members than SLUICE_ARCHIVE_MEMBERS, or more bytes than SLUICE_ARCHIVE_BYTES.",
        "Raise that setting and submit again, or pack several smaller archives.",
    )
    MEMBER_ENCRYPTED = (
        "member_encrypted",
        "The archive's member is encrypted.",
        "Pack it without a password and upload the archive again.",
    )
    MEMBER_COMPRESSION = (
        "member_compression",
        "The archive's member is compressed by a method other than deflate, or stored in pieces.",
        "Pack it with deflate, or without compression (zip -0, best for pictures), and upload the archive again.",
    )
    MEMBER_RATIO = (
        "member_ratio",
        "The archive's member grows to more than SLUICE_ARCHIVE_RATIO times its size, like a zip bomb.",
        "Nothing; if it really is a picture, raise that setting, then replay.",
    )
    MEMBER_NAME = (
        "member_name",
        "The member's name is absolute, contains '..', isn't UTF-8, is too long, or belongs to an earlier member too.",
        "Pack it under another name and upload the archive again.",
    )
    MEMBER_DAMAGED = (
        "member_damaged",
        "The member's bytes don't match the archive's directory (size, CRC, place).",
        "Pack and upload the archive again.",
    )
    NESTED_ARCHIVE = (
        "nested_archive",
        "The member is an archive itself; only the outer archive is read.",
        "Upload the inner archive as a separate object.",
    )
    KILLED_CONSUMERS = (
        "killed_consumers",
        "Three consumers died while they processed only this object.",
        "If they ran out of memory, raise their memory limit, then replay; otherwise leave the object in quarantine.",
    )


class ReadFailure(StrEnum):
    """What a consumer reports of an object that it couldn't read; only the producer can judge it."""

    CHANGED = "changed"
    """The key holds other bytes now: the producer finds out which."""
    STORAGE_ERROR = "storage_error"
    """The storage refuses this read: the producer finds out whose fault that is."""
