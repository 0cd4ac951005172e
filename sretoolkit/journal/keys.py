"""The Ed25519 keys that sign a journal's heads.

The folder holds one private key (``signing.key``, 0600, made on first use), and a public key (``<id>.pub``, PEM) for
every key that this machine trusts: its own, those it had before, and those that a person put there.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sretoolkit.config import Config
from sretoolkit.errors import JournalError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_KEY_ID = re.compile(r"[0-9a-f]{16}")


class Keys:
    """One folder of keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, config: Config) -> Keys:
        """The folder that the configuration names."""
        return cls(Path(config["journal.keys"]).expanduser())

    @property
    def path(self) -> Path:
        """The file of the private key."""
        return self.folder / "signing.key"

    def sign(self, message: bytes) -> tuple[str, str]:
        """The id of the signing key and its signature (base64) of a message."""
        private = self._private()
        return self._key_id(private.public_key()), base64.b64encode(private.sign(message)).decode()

    def key_id(self) -> str:
        """The id of the signing key: the first 16 hexadecimal digits of the public key's SHA-256."""
        return self._key_id(self._private().public_key())

    def trusted(self) -> list[str]:
        """The ids of the public keys in the folder."""
        return sorted(path.stem for path in self.folder.glob("*.pub"))

    def public(self, key_id: str) -> str | None:
        """A trusted public key as PEM; None when it is not here."""
        path = self.folder / f"{key_id}.pub"
        if not _KEY_ID.fullmatch(key_id) or not path.is_file():
            return None
        return path.read_text(encoding="utf-8", errors="replace")

    def valid(self, key_id: str, message: bytes, signature: str) -> bool | None:
        """Whether the signature is that key's; None when the key is not trusted here."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        pem = self.public(key_id)
        if pem is None:
            return None
        try:
            key = load_pem_public_key(pem.encode())
            if not isinstance(key, Ed25519PublicKey) or self._key_id(key) != key_id:
                return False
            raw = base64.b64decode(signature)
            key.verify(raw, message)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return base64.b64encode(raw).decode() == signature  # several texts decode to the same bytes; one was written

    def rotate(self) -> tuple[str, str]:
        """Make a new signing key; the old public key stays trusted. Returns the ids, old and new."""
        old = self.key_id()
        retired = self.path.with_name(f"{old}.retired")
        os.replace(self.path, retired)
        try:
            new = self.key_id()
        except BaseException:
            os.replace(retired, self.path)
            raise
        retired.unlink()
        return old, new

    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            mode = self.path.stat().st_mode & 0o077
            if mode:
                raise JournalError(f"the signing key {self.path} can be read by others", hint=f"chmod 600 {self.path}")
            key = load_pem_private_key(self.path.read_bytes(), password=None)
        except FileNotFoundError:
            return self._make()
        except (OSError, ValueError) as error:
            raise JournalError(
                f"the signing key {self.path} cannot be used: {error}",
                hint="restore it from a backup, or move it away: a new one is made and verify will say so",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise JournalError(f"the signing key {self.path} is no Ed25519 key", hint="move it away: a new one is made")
        return key

    def _make(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        key = Ed25519PrivateKey.generate()
        public = self.folder / f"{self._key_id(key.public_key())}.pub"
        draft = ""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            descriptor, draft = tempfile.mkstemp(dir=self.folder, prefix="signing.", suffix=".draft")
            with os.fdopen(descriptor, "wb") as file:
                file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, self.path)  # of several that make the first key at once, one wins
        except FileExistsError:
            public.unlink()
            return self._private()
        except OSError as error:
            public.unlink(missing_ok=True)
            raise JournalError(
                f"no signing key can be made in {self.folder}: {error.strerror}",
                hint="mend the folder, or set journal.keys",
            ) from error
        finally:
            if draft:
                Path(draft).unlink()
        return key

    @staticmethod
    def _key_id(public: Ed25519PublicKey) -> str:
        import hashlib

        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
