# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A client's certificate: read from the TLS end, and held against what is expected.

Believe a header only where your proxy sets it and removes what strangers send under its name.
Only the TLS end checks that the client holds the key of the certificate; here it is recognised.
"""

import hashlib
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from ..errors import SignatureError
from .base import ClientCertificate

MAX_TEXT: Final = 65_536
MAX_NAMES: Final = 100
_SHA256: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_PAIR: Final = re.compile(r'([A-Za-z]{1,20})=("(?:[^"\\]|\\.)*"|[^;,"]*)(;|$)')
_NAME: Final = re.compile(r"(?:dns|uri):[!-~]{1,253}")


def from_pem(text: str) -> ClientCertificate | None:
    """A certificate in PEM form, also percent-encoded as proxies hand it on (nginx, AWS ALB).

    Its names are read where cryptography is installed; its fingerprint always.
    """
    if len(text) > MAX_TEXT:
        return None
    pem = unquote(text) if "%" in text else text
    try:
        der = ssl.PEM_cert_to_DER_cert(pem.partition("-----END CERTIFICATE-----")[0].strip()
                                       + "\n-----END CERTIFICATE-----\n")  # fmt: skip
    except ValueError:
        return None
    return ClientCertificate(hashlib.sha256(der).hexdigest(), _names(der))


def from_asgi(scope: Mapping[str, Any]) -> ClientCertificate | None:
    """The client's certificate of an ASGI server that has the TLS extension."""
    tls = (scope.get("extensions") or {}).get("tls") or {}
    chain = tls.get("client_cert_chain") or ()
    first = next(iter(chain), None)
    if not isinstance(first, str) or tls.get("client_cert_error"):
        return None
    return from_pem(first)


def from_xfcc(text: str) -> ClientCertificate | None:
    """Envoy's X-Forwarded-Client-Cert with one element; of several nobody can say which is meant.

    >>> found = from_xfcc('Hash=' + 'ab' * 32 + ';Subject="CN=x,O=y";URI=spiffe://example/x')
    >>> sorted(found.names)
    ['uri:spiffe://example/x']
    """
    at = 0
    pairs: list[tuple[str, str]] = []
    if len(text) > MAX_TEXT:
        return None
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None or len(pairs) >= MAX_NAMES:
            return None
        pairs.append((pair[1].lower(), pair[2].strip('"')))
        at = pair.end()
    hashes = [value.lower() for name, value in pairs if name == "hash"]
    names = [f"{name}:{value}" for name, value in pairs if name in {"uri", "dns"} and value]
    if len(hashes) != 1 or _SHA256.fullmatch(hashes[0]) is None:
        return None
    return ClientCertificate(hashes[0], frozenset(names))


class CertificateCheck:
    """Which client certificates are accepted: SHA-256 fingerprints and names, each with a label.

    >>> check = CertificateCheck({"batch": "uri:spiffe://example/batch"})
    >>> check(ClientCertificate(None, frozenset({"uri:spiffe://example/batch"})))
    'batch'
    """

    def __init__(self, allowed: Mapping[str, str]) -> None:
        self._prints: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for label, text in allowed.items():
            bare = text.strip().lower().replace(":", "").removeprefix("sha256")
            if _SHA256.fullmatch(bare):
                self._prints[bare] = label
            elif _NAME.fullmatch(text.strip()):
                self._names[text.strip()] = label
            else:
                msg = (
                    f"certificate {label!r}: allowed are a SHA-256 fingerprint, dns:NAME and"
                    " uri:NAME"
                )
                raise SignatureError(msg)
        if not allowed:
            msg = "certificate: allowed are one and more; given 0"
            raise SignatureError(msg)

    def __call__(self, shown: ClientCertificate | None) -> str | None:
        """The label of the certificate that a client showed; None when it is not accepted."""
        if shown is None:
            return None
        if shown.sha256 is not None and (label := self._prints.get(_bare(shown.sha256))):
            return label
        return next((self._names[name] for name in shown.names if name in self._names), None)


def _bare(text: str) -> str:
    return text.lower().replace(":", "")


def _names(der: bytes) -> frozenset[str]:
    try:
        from cryptography import x509

        leaf = x509.load_der_x509_certificate(der)
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = [f"dns:{name}" for name in found.get_values_for_type(x509.DNSName)]
        uris = [f"uri:{name}" for name in found.get_values_for_type(x509.UniformResourceIdentifier)]
    except Exception:  # not installed, or nothing that can be read: the fingerprint remains
        return frozenset()
    return frozenset((dns + uris)[:MAX_NAMES])
