"""Archives that may be published, and those that mayn't: each refused for what is wrong with it, none unpacked."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sluice.errors import ConfigurationError
from sluice.images import NO_WEIGHTS, digest_of
from sluice.store.archive import check_archive
from tests.support.model_archives import SIZES
from tools.stack.renamed import MANIFEST, write

MOST: Final = 1_000_000
TENSORS: Final = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
SOUND: Final = len(TENSORS).to_bytes(8, "little") + TENSORS + bytes(4)


def archive(weights: bytes | None = SOUND, file: str = "weights.safetensors") -> dict[str, bytes]:
    """Return the members of a sound archive."""
    sha256 = hashlib.sha256(weights).hexdigest() if weights is not None else NO_WEIGHTS
    card: dict[str, Any] = {
        "name": "drugs",
        "version": "1.0",
        "architecture": "resnet18",
        "weights": {"file": file, "sha256": sha256} if weights is not None else None,
        "preprocessing": SIZES,
        "labels": ["drug", "other"],
    }
    card["digest"] = digest_of(card["architecture"], sha256, SIZES, card["labels"])
    model = {"modelName": "drugs", "modelVersion": "1.0", "handler": "sluice_handler.py"}
    found = {
        MANIFEST: json.dumps({"runtime": "python", "model": model}).encode(),
        "handlers/networks.py": b"",
        "model.json": json.dumps(card).encode(),
        "sluice/images/decode.py": b"",
        "sluice_handler.py": b"",
    }
    return found | ({file: weights} if weights is not None else {})


def packed(**inner: bytes) -> bytes:
    """Return a zip of stored members, as torch writes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, data in inner.items():
            opened.writestr(name, data)
    return made.getvalue()


PROGRAM: Final = {
    "p/archive_format": b"pt2",
    "p/.data/version": b"6",
    "p/data/weights/weight_0": b"\x80\x02",
    "p/data/weights/model_weights_config.json": b"{}",
    "p/data/sample_inputs/model.pt": b"",
    "p/models/model.json": b"{}",
}


@pytest.mark.parametrize(
    "members",
    [archive(), archive(None), archive(packed(**PROGRAM), "program.pt2")],
    ids=["safetensors", "no weights", "program"],
)
def test_what_the_builder_makes_may_be_published(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = write(tmp_path / "a.mar", members)
    checked = check_archive(path, MOST)
    assert (checked.card["name"], checked.size) == ("drugs", path.stat().st_size)
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def changed_card(**fields: object) -> dict[str, bytes]:
    found = archive()
    return {**found, "model.json": json.dumps({**json.loads(found["model.json"]), **fields}).encode()}


def manifest(**fields: object) -> dict[str, bytes]:
    found = archive()
    told = json.loads(found[MANIFEST])
    told["model"].update(fields)
    return {**found, MANIFEST: json.dumps(told).encode()}


BAD_MEMBERS: Final[dict[str, tuple[dict[str, bytes], str]]] = {
    "pickle beside": ({**archive(), "extra.pkl": pickle.dumps([1])}, r"'extra\.pkl' is neither code nor weights"),
    "pickle as weights": (archive(pickle.dumps({"w": [1]}, 4)), "no safetensors, but perhaps a pickle"),
    "torch.save as weights": (archive(packed(**{"a/data.pkl": b"\x80\x02."})), "no safetensors, but perhaps a pickle"),
    "state dict": (archive(b"", "weights.pth"), r"'weights\.pth' is neither code nor weights"),
    "list as header": (archive((2).to_bytes(8, "little") + b"[]"), "are no safetensors"),
    "pickle in a program": (
        archive(packed(**PROGRAM, **{"p/data/constants/custom_obj_0": b"\x80\x02."}), "program.pt2"),
        "custom_obj_0', which may be pickled",
    ),
    "pickled sample": (
        archive(packed(**{**PROGRAM, "p/data/sample_inputs/model.pt": b"PK"}), "program.pt2"),
        r"model\.pt', which may be pickled",
    ),
    "compiled program": (
        archive(packed(**PROGRAM, **{"p/data/aotinductor/model.so": b""}), "program.pt2"),
        r"model\.so', which may be pickled or code",
    ),
    "no program": (archive(b"abc", "program.pt2"), "no file of torch.export"),
    "above": ({**archive(), "../../etc/cron.py": b""}, "would be unpacked outside"),
    "absolute": ({**archive(), "/etc/cron.py": b""}, "would be unpacked outside"),
    "backslash": ({**archive(), "..\\cron.py": b""}, "would be unpacked outside"),
    "deep": ({**archive(), "sluice/./x.py": b""}, "neither code nor weights"),
    "options for TorchServe": ({**archive(), "model-config.yaml": b""}, r"'model-config\.yaml' is neither"),
    "packages": ({**archive(), "requirements.txt": b"evil"}, r"'requirements\.txt' is neither"),
    "no card": ({name: data for name, data in archive().items() if name != "model.json"}, r"has no model\.json"),
    "no handler": (
        {name: data for name, data in archive().items() if "handler.py" not in name},
        "has no sluice_handler",
    ),
    "other weights": ({**archive(), "weights.safetensors": SOUND + b"x"}, "has sha256"),
    "weights too many": ({**archive(), "more.safetensors": SOUND}, "names weights.safetensors: build it again"),
    "changed card": (changed_card(labels=["x", "y"]), "digest is .* it was changed after it was built"),
    "another name": (manifest(modelName="cats"), "MANIFEST.json doesn't say"),
    "another handler": (manifest(handler="evil.py"), "MANIFEST.json doesn't say"),
    "more for TorchServe": (manifest(requirementsFile="r.txt"), "MANIFEST.json doesn't say"),
    "card without JSON": ({**archive(), "model.json": b"{"}, "isn't a model archive"),
    "manifest without JSON": ({**archive(), MANIFEST: b"{"}, "isn't a model archive"),
    "many": ({**archive(), **{f"sluice/a{number}.py": b"" for number in range(1000)}}, "1006 members"),
}


@pytest.mark.parametrize("which", BAD_MEMBERS)
def test_what_an_archive_mustnt_hold_is_named(tmp_path: Path, which: str) -> None:
    members, said = BAD_MEMBERS[which]
    with pytest.raises(ConfigurationError, match=said) as raised:
        check_archive(write(tmp_path / "a.mar", members), MOST)
    assert str(raised.value).startswith(str(tmp_path / "a.mar")), "says which"
    assert str(raised.value).count("a.mar") == 1


def bomb(path: Path) -> None:
    """Add a member of a megabyte that is packed to a thousandth."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("sluice/zeros.py", bytes(1_000_000))


def link(path: Path) -> None:
    entry = zipfile.ZipInfo("sluice/passwords.py")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(entry, "/etc/passwd")


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("sluice_handler.py", b"evil")


def hidden_before(path: Path) -> None:
    """Put an archive before the archive: a reader from the beginning finds that one."""
    path.write_bytes(packed(**{"evil.py": b"evil"})[:-60] + path.read_bytes())


def hidden_member(path: Path) -> None:
    """Take a member out of the directory alone: readers from the beginning still find it."""
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("sluice/evil.py", b"evil")
        opened.filelist.remove(opened.getinfo("sluice/evil.py"))


def other_name(path: Path) -> None:
    """Give a member another name in its own header than in the directory."""
    data = path.read_bytes()
    at = data.index(b"sluice/images/decode.py")
    path.write_bytes(data[:at] + b"../../images/decode.py!" + data[at + 23 :])


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def rot(path: Path) -> None:
    """Flip a bit of the weights."""
    data = path.read_bytes()
    at = data.index(TENSORS) + 5
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def large(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("sluice/large.py", bytes(MOST))


BAD_FILES: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "bomb": (bomb, r"'sluice/zeros\.py' is compressed \([\d,]+ bytes become 1,000,000\)"),
    "link": (link, r"'sluice/passwords\.py' is a link"),
    "twice": (twice, r"'sluice_handler\.py' is there twice"),
    "hidden before": (hidden_before, "there is something before it|isn't a model archive"),
    "hidden member": (hidden_member, "between its last member and its directory"),
    "other name": (other_name, "isn't what the directory says"),
    "cut off": (cut_off, "isn't a model archive"),
    "rotten": (rot, "sha256|isn't a model archive"),
    "large": (large, r"SLUICE_MODEL_MAX_BYTES allows 1,000,000"),
    "empty": (lambda path: path.open("wb").close(), "isn't a model archive"),
    "absent": (lambda path: path.unlink(), "can't be read"),
}


@pytest.mark.parametrize("which", BAD_FILES)
def test_a_file_that_would_be_unpacked_otherwise_is_refused(tmp_path: Path, which: str) -> None:
    change, said = BAD_FILES[which]
    path = write(tmp_path / "a.mar", archive())
    change(path)
    with pytest.raises(ConfigurationError, match=said):
        check_archive(path, MOST)
