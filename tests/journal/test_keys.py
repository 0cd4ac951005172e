"""The signing keys: made once, readable by nobody else, lost, changed and mistaken."""

from __future__ import annotations

import base64
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sretoolkit.errors import JournalError
from sretoolkit.journal import Keys


def test_the_first_use_makes_a_key_for_its_owner_alone(keys: Keys) -> None:
    """Key file 0600 in a folder 0700, made on first use; the public key beside it; nothing else is left."""
    key_id, signature = keys.sign(b"message")
    assert [f"{key_id}.pub", "signing.key"] == sorted(path.name for path in keys.folder.iterdir())
    assert (0o600, 0o700) == (keys.path.stat().st_mode & 0o777, keys.folder.stat().st_mode & 0o777)
    assert (True, False, [key_id]) == (
        keys.valid(key_id, b"message", signature),
        keys.valid(key_id, b"massage", signature),
        keys.trusted(),
    )


def test_every_edited_byte_of_a_signature_is_found(keys: Keys) -> None:
    """Also where base64 would decode to the same bytes: one text was written, and no other one is valid."""
    key_id, signature = keys.sign(b"message")
    for place, character in enumerate(signature):
        for other in {"A", "B", "!", "=", "\n", chr(ord(character) ^ 1)} - {character}:
            assert keys.valid(key_id, b"message", signature[:place] + other + signature[place + 1 :]) is False
    for wrong in ("", signature + "\n", signature + "AAAA", " " + signature, "é"):
        assert keys.valid(key_id, b"message", wrong) is False


@pytest.mark.parametrize("name", ["0" * 16, "", "..", "../keys/x", "x" * 10_000, "\0", "A" * 16])
def test_a_key_that_is_not_here_proves_nothing(keys: Keys, name: str) -> None:
    """An unknown id, or one that is none, is neither valid nor an error."""
    keys.sign(b"")
    assert (None, None) == (keys.public(name), keys.valid(name, b"", "AAAA"))


def test_a_public_key_under_a_wrong_name_is_not_trusted(keys: Keys, tmp_path: Path) -> None:
    """A foreign key that is renamed to a trusted one's id does not sign for it; nor does a key of another kind."""
    key_id, _ = keys.sign(b"")
    foreign = Keys(tmp_path / "foreign")
    _, signature = foreign.sign(b"message")
    (keys.folder / f"{key_id}.pub").write_text(foreign.public(foreign.key_id()) or "")
    assert keys.valid(key_id, b"message", signature) is False
    other = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    (keys.folder / f"{key_id}.pub").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert keys.valid(key_id, b"message", signature) is False
    (keys.folder / f"{key_id}.pub").write_bytes(b"\xff\xfe")
    assert keys.valid(key_id, b"message", signature) is False


def test_a_key_that_others_can_read_is_not_used(keys: Keys) -> None:
    """What others can read others can sign with."""
    keys.sign(b"")
    keys.path.chmod(0o640)
    with pytest.raises(JournalError, match="can be read by others") as caught:
        keys.sign(b"")
    assert f"chmod 600 {keys.path}" == caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_said_and_not_replaced(keys: Keys, content: bytes) -> None:
    """A new key in silence would hide that the old one was lost."""
    keys.sign(b"")
    keys.path.write_bytes(content)
    with pytest.raises(JournalError, match="cannot be used"):
        keys.sign(b"")
    assert content == keys.path.read_bytes()


def test_a_folder_that_cannot_be_made_is_said(own_home: Path) -> None:
    """A file stands where the folder should be."""
    (own_home / "file").write_text("")
    with pytest.raises(JournalError, match=r"no signing key can be made|cannot be used"):
        Keys(own_home / "file" / "keys").sign(b"")


def test_a_new_key_keeps_the_old_one_trusted(keys: Keys) -> None:
    """DESIGN "The journal": after a rotation old signatures stay valid, and the old private key is gone."""
    key_id, signature = keys.sign(b"old")
    before = keys.path.read_bytes()
    old, new = keys.rotate()
    assert (key_id, True, new) == (old, keys.valid(key_id, b"old", signature), keys.key_id())
    assert sorted([f"{old}.pub", f"{new}.pub", "signing.key"]) == sorted(path.name for path in keys.folder.iterdir())
    assert before not in [path.read_bytes() for path in keys.folder.iterdir()]


def test_a_rotation_that_fails_keeps_the_old_key(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is always one key to sign with."""
    old = keys.key_id()
    monkeypatch.setattr(keys, "_make", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        keys.rotate()
    assert old == keys.key_id()


def first_key(folder: str, barrier: Barrier, answers: multiprocessing.SimpleQueue[tuple[str, str]]) -> None:
    """Sign for the first time at the same moment as another process."""
    import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401

    barrier.wait(60)
    answers.put(Keys(Path(folder)).sign(b"message"))


def test_two_processes_that_make_the_first_key_agree_on_it(keys: Keys) -> None:
    """DESIGN "The journal": of several first uses at once one key comes out, and every signature is its."""
    spawn = multiprocessing.get_context("spawn")
    for attempt in range(3):
        folder = keys.folder / str(attempt)
        barrier, answers = spawn.Barrier(2), spawn.SimpleQueue()
        both = [spawn.Process(target=first_key, args=(str(folder), barrier, answers)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join(60)
        _check(Keys(folder), [answers.get(), answers.get()])


def test_many_threads_that_make_the_first_key_agree_on_it(keys: Keys) -> None:
    """DESIGN "The journal": threads of one process are no worse than processes."""
    for attempt in range(10):
        own = Keys(keys.folder / str(attempt))
        with ThreadPoolExecutor(8) as threads:
            _check(own, list(threads.map(own.sign, [b"message"] * 8)))


def _check(keys: Keys, signed: list[tuple[str, str]]) -> None:
    key_id = keys.key_id()
    assert [(key_id, True)] * len(signed) == [
        (one, keys.valid(one, b"message", signature)) for one, signature in signed
    ]
    assert [f"{key_id}.pub", "signing.key"] == sorted(path.name for path in keys.folder.iterdir())
    assert 64 == len(base64.b64decode(signed[0][1]))
