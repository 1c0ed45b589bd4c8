"""Whether a signature holds under a public key; cryptography is imported where it is used."""

from typing import Any


def holds_ed25519(public: Any, signature: bytes, content: bytes) -> bool:
    """Ed25519 over the content."""
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def holds_ecdsa(public: Any, signature: bytes, content: bytes, bits: int = 256) -> bool:
    """ECDSA with SHA-256 or SHA-384, the signature in DER form."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    algorithm = hashes.SHA256() if bits == 256 else hashes.SHA384()
    try:
        public.verify(signature, content, ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def holds_ecdsa_raw(public: Any, signature: bytes, content: bytes, bits: int) -> bool:
    """ECDSA with its two numbers one after the other, as message signatures have it."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    half = bits // 8
    if len(signature) != 2 * half:
        return False
    r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
    return holds_ecdsa(public, encode_dss_signature(r, s), content, bits)


def holds_rsa(public: Any, signature: bytes, content: bytes, form: str = "sha256") -> bool:
    """RSA: `sha256` and `sha1` with PKCS #1 v1.5, `pss` with SHA-512."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15

    try:
        if form == "pss":
            algorithm = hashes.SHA512()
            public.verify(signature, content, PSS(MGF1(algorithm), 64), algorithm)
        else:
            # SHA-1 is what SNS signs its version 1 with; nobody can choose both of its inputs
            digest = hashes.SHA256() if form == "sha256" else hashes.SHA1()  # noqa: S303
            public.verify(signature, content, PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True
