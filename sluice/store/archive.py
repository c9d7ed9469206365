"""What may be published, and loaded: an archive as `sluice models build` makes it, and nothing besides.

TorchServe unpacks whatever it is given, with a reader that follows the file from its beginning and doesn't look at its
directory. So an archive's members must lie end to end, each as the directory says, stored and not compressed: what is
looked at here is what is unpacked there, and it can't become larger. Weights are safetensors, or a program of
torch.export without a pickle; the rest is Python code, which TorchServe runs, the manifest and the card.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from sluice.errors import ConfigurationError
from sluice.store.card import CARD, PARTS, archived_card

MANIFEST: Final = "MAR-INF/MANIFEST.json"
HANDLER: Final = "sluice_handler.py"
CODE: Final = re.compile(r"(?:(?:handlers|sluice)/(?:[a-z_0-9]{1,64}/){0,4})?[a-z_0-9]{1,64}\.py")
WEIGHTS: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.(safetensors|pt2)")
OF_A_PROGRAM: Final = re.compile(
    r"[^/]{1,64}/(?:\.?data/(?:version|serialization_id)|\.?[a-z_]{1,32}|models/model\.json|"
    r"data/(?:weights/weight|constants/tensor)_[0-9]{1,6}|"
    r"data/(?:weights/model_weights|constants/model_constants)_config\.json|data/sample_inputs/model\.pt)"
)
"""Members of a program: its graph, its numbers and what says which is which."""
SAMPLE: Final = "/data/sample_inputs/model.pt"
MEMBERS_MAX: Final = 1000
NUMBERS_MAX: Final = 20_000
TEXT_MAX_BYTES: Final = 16 * 1024 * 1024
SHOWN: Final = 80
LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
LOCAL_MARK: Final = b"PK\x03\x04"
BEYOND: Final = 0xFFFFFFFF
"""A size that stands in the extra field instead, as 64 bits."""
EXTRA: Final = struct.Struct("<HHQQ")
UNKNOWN_SIZE: Final = 0x08
ENCRYPTED: Final = 0x01
LINK: Final = 0o120000
KIND: Final = 0o170000


@dataclass(frozen=True, slots=True)
class CheckedArchive:
    """An archive that may be loaded: what it says of itself, and which bytes it is."""

    card: dict[str, Any]
    sha256: str
    size: int


def check_archive(path: Path, most_bytes: int, called: str = "") -> CheckedArchive:
    """Look at an archive without running or unpacking any of it; ConfigurationError says what is wrong with it."""
    shown = called or str(path)
    try:
        size = path.stat().st_size
        _check_size(size, most_bytes)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            with zipfile.ZipFile(file) as opened:
                _check_members(opened, file)
        card = archived_card(path, shown)
        with zipfile.ZipFile(path) as opened:
            _check_weights(opened, card)
            _check_manifest(opened, card)
    except OSError as error:
        raise ConfigurationError(f"{shown} can't be read: {error.strerror or error}: name a .mar file") from error
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, RuntimeError, struct.error) as error:
        raise ConfigurationError(
            f"{shown} isn't a model archive ({error}): make one with `sluice models build`"
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(str(error) if str(error).startswith(shown) else f"{shown}: {error}") from error
    return CheckedArchive(card, sha256, size)


def _check_size(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise ConfigurationError(
            f"it has {size:,} bytes, SLUICE_MODEL_MAX_BYTES allows {most_bytes:,}: raise that setting, for the agents "
            f"too, or make the model smaller"
        )


def _check_members(opened: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Refuse what a reader that goes from the beginning would unpack otherwise, or elsewhere."""
    entries = opened.infolist()
    if not 1 <= len(entries) <= MEMBERS_MAX:
        raise ConfigurationError(f"it has {len(entries)} members: expected 1 to {MEMBERS_MAX}")
    seen = set()
    for entry in entries:
        if entry.filename in seen:
            raise ConfigurationError(f"its member {_short(entry.filename)} is there twice")
        seen.add(entry.filename)
        _check_member(entry)
    for needed in (MANIFEST, CARD, HANDLER):
        if needed not in seen:
            raise ConfigurationError(f"it has no {needed}: make it with `sluice models build`")
    _check_layout(entries, file, opened.start_dir)


def _check_member(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/") or "\0" in entry.orig_filename:
        raise ConfigurationError(f"its member {_short(name)} would be unpacked outside of the model's folder")
    if (entry.external_attr >> 16) & KIND == LINK:
        raise ConfigurationError(f"its member {_short(name)} is a link")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise ConfigurationError(
            f"its member {_short(name)} is compressed ({entry.compress_size:,} bytes become {entry.file_size:,}): "
            f"archives are stored as they are, which `sluice models build` does"
        )
    if name not in {MANIFEST, CARD} and not CODE.fullmatch(name) and not WEIGHTS.fullmatch(name):
        raise ConfigurationError(
            f"its member {_short(name)} is neither code nor weights as safetensors or .pt2: pickles and files that "
            f"nothing uses aren't taken; build it again with `sluice models build`"
        )


def _check_layout(entries: list[zipfile.ZipInfo], file: IO[bytes], directory: int) -> None:
    """Compare each member's own header with the directory; nothing may lie before, between or behind them."""
    at = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        file.seek(at)
        mark, _, flags, kind, _, _, crc, packed, size, name_length, extra_length = LOCAL.unpack(file.read(LOCAL.size))
        name, extra = file.read(name_length), file.read(extra_length)
        if BEYOND in {packed, size}:
            tag, _, size, packed = EXTRA.unpack(extra[: EXTRA.size])
            if tag != 1:
                raise ConfigurationError(f"its member {_short(entry.filename)} doesn't say its size")
        wanted = (LOCAL_MARK, entry.header_offset, 0, entry.CRC, entry.file_size, entry.file_size)
        if (mark, at, kind, crc, packed, size) != wanted or name != entry.orig_filename.encode():
            raise ConfigurationError(
                f"its member {_short(entry.filename)} isn't what the directory says, or there is something before it"
            )
        if flags & (UNKNOWN_SIZE | ENCRYPTED):
            raise ConfigurationError(f"its member {_short(entry.filename)} is encrypted, or of a size told behind it")
        at += LOCAL.size + name_length + extra_length + size
    if at != directory:
        raise ConfigurationError("there is something between its last member and its directory")


def _check_weights(opened: zipfile.ZipFile, card: dict[str, Any]) -> None:
    """Refuse weights that are no safetensors and no program, and files of weights that the card doesn't name."""
    named = {card[part]["file"] for part in PARTS if card.get(part)}
    there = {name for name in opened.namelist() if WEIGHTS.fullmatch(name)}
    if there != named:
        raise ConfigurationError(f"it holds {_all(there)}, and its {CARD} names {_all(named)}: build it again")
    for name in named:
        with opened.open(name) as file:
            if name.endswith(".pt2"):
                _check_program(file)
            else:
                _check_safetensors(file, opened.getinfo(name).file_size)


def _check_safetensors(file: IO[bytes], size: int) -> None:
    length = int.from_bytes(file.read(8), "little")
    if length > min(size, TEXT_MAX_BYTES):
        raise ConfigurationError("its weights are no safetensors, but perhaps a pickle: build it again")
    try:
        told = json.loads(file.read(length))
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ConfigurationError("its weights are no safetensors: build it again")


def _check_program(file: IO[bytes]) -> None:
    """Look for what torch would unpickle; the handler looks at the graph too before torch opens the file."""
    try:
        with zipfile.ZipFile(file) as inner:
            entries = inner.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"its program is no file of torch.export ({error}): build it again") from error
    for entry in entries[: NUMBERS_MAX + 1]:
        harmless = OF_A_PROGRAM.fullmatch(entry.filename) and not (entry.filename.endswith(SAMPLE) and entry.file_size)
        if not harmless or entry.compress_type != zipfile.ZIP_STORED:
            raise ConfigurationError(
                f"its program holds {_short(entry.filename)}, which may be pickled or code: build it again with "
                f"`sluice models build`, which leaves such things out"
            )
    if len(entries) > NUMBERS_MAX:
        raise ConfigurationError(f"its program has {len(entries)} members: {NUMBERS_MAX} are taken")


def _check_manifest(opened: zipfile.ZipFile, card: dict[str, Any]) -> None:
    """Refuse a manifest that has TorchServe serve something else than the card says."""
    if opened.getinfo(MANIFEST).file_size > TEXT_MAX_BYTES:
        raise ConfigurationError(f"its {MANIFEST} is too large")
    told = json.loads(opened.read(MANIFEST))
    model = told.get("model") if isinstance(told, dict) else None
    wanted = {"modelName": card["name"], "modelVersion": card["version"], "handler": HANDLER}
    if model != wanted:
        raise ConfigurationError(
            f"its {MANIFEST} doesn't say {json.dumps(wanted)}, as {CARD} has it: build it again with "
            f"`sluice models build`"
        )


def _all(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no weights"


def _short(name: str) -> str:
    return repr(name[:SHOWN])
