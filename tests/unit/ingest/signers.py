"""A sender for every scheme: signs as the provider does, written apart from the verifiers."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from ingest.signatures.base import Key, SignedRequest

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
URL = "https://hooks.example/in?tenant=a%20b"
SECRET = b"an honest secret of some length!"
ARN = "arn:aws:sns:eu-west-1:123456789012:orders"
WEBHOOK = "8PT597110X687430LKGECATA"
PAYPAL_URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594"
SNS_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem"

Signed = tuple[Mapping[str, str], bytes]


@dataclass(frozen=True)
class Sender:
    """How to sign by one scheme, with which keys to verify, and what a body looks like."""

    sign: Callable[[bytes, datetime], Signed]
    keys: tuple[Key, ...] = (Key("k1", SECRET),)
    body: bytes = b'{"id":"evt_1","event_id":"evt_1","type":"paid"}'
    options: Mapping[str, Any] | None = None

    def request(self, at: datetime = NOW, body: bytes | None = None) -> SignedRequest:
        """A request that was signed at a time, and arrives now."""
        headers, sent = self.sign(self.body if body is None else body, at)
        return SignedRequest("POST", URL, headers, sent, NOW)


def mac(content: bytes, algorithm: str = "sha256") -> bytes:
    """The HMAC under the senders' secret."""
    return hmac.new(SECRET, content, algorithm).digest()


def b64(raw: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(raw).decode()


def unix(at: datetime) -> str:
    """Seconds since 1970."""
    return str(int(at.timestamp()))


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The RSA key of PayPal and of SNS."""
    return rsa.generate_private_key(65537, 2048)


ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
EC = ec.derive_private_key(20261120, ec.SECP256R1())


def raw_public(key: ed25519.Ed25519PrivateKey) -> bytes:
    """The 32 bytes of an Ed25519 public key."""
    return key.public_key().public_bytes_raw()


def der_public(key: Any) -> bytes:
    """A public key in DER form."""
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def certificate(
    name: str | None,
    public: Any,
    *,
    by: rsa.RSAPrivateKey,
    issuer: str = "a root",
    ca: bool = False,
    start: datetime = NOW - timedelta(days=30),
    days: int = 365,
) -> bytes:
    """A certificate for a DNS name, or a root's, in PEM form."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name or issuer)])
    issued = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)])
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued)
        .public_key(public)
        .serial_number(20261120)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if not ca and name is not None:
        built = built.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        ).add_extension(
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return built.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@cache
def root() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A root's key and certificate."""
    key = rsa.generate_private_key(65537, 2048)
    return key, certificate(None, key.public_key(), by=key, ca=True)


@cache
def served() -> Mapping[str, bytes]:
    """What the providers' pinned addresses answer."""
    key = root()[0]
    public = rsa_key().public_key()
    return {
        PAYPAL_URL: certificate("messageverificationcerts.paypal.com", public, by=key),
        SNS_URL: certificate("sns.amazonaws.com", public, by=key),
    }


def fetch(url: str) -> bytes:
    """The network, as far as these senders need one."""
    return served()[url]


def _headers(
    make: Callable[[bytes, str], Mapping[str, str]],
) -> Callable[[bytes, datetime], Signed]:
    return lambda body, at: (make(body, unix(at)), body)


def _standard(prefix: str, version: str, sign: Callable[[bytes], bytes]) -> Any:
    return _headers(
        lambda body, t: {
            f"{prefix}-id": "msg_1",
            f"{prefix}-timestamp": t,
            f"{prefix}-signature": f"{version},{b64(sign(f'msg_1.{t}.'.encode() + body))}",
        }
    )


def _hubspot(body: bytes, at: datetime) -> Signed:
    ms = unix(at) + "000"
    uri = b"https://hooks.example/in?tenant=a%20b"
    return {
        "X-HubSpot-Signature-v3": b64(mac(b"POST" + uri + body + ms.encode())),
        "X-HubSpot-Request-Timestamp": ms,
    }, body


def _linear(body: bytes, at: datetime) -> Signed:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    body = json.dumps({**fields, "webhookTimestamp": int(unix(at)) * 1000}).encode()
    return {"Linear-Signature": mac(body).hex(), "Linear-Delivery": "evt_1"}, body


def _twilio(body: bytes, _: datetime) -> Signed:
    fields = {"CallSid": "CA1", "Body": body.hex(), "Empty": ""}
    text = URL + "".join(name + fields[name] for name in sorted(fields))
    return {
        "X-Twilio-Signature": b64(mac(text.encode(), "sha1")),
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "I-Twilio-Idempotency-Token": "evt_1",
    }, urlencode(fields).encode()


def adyen_body(items: list[dict[str, Any]], signatures: list[str]) -> bytes:
    """A payment notification with signed items."""
    listed = [
        {"NotificationRequestItem": {**item, "additionalData": {"hmacSignature": signature}}}
        for item, signature in zip(items, signatures, strict=True)
    ]
    return json.dumps({"live": "false", "notificationItems": listed}).encode()


def _adyen(body: bytes, _: datetime) -> Signed:
    item = {
        "pspReference": "evt_1",
        "merchantAccountCode": "Shop",
        "merchantReference": body.hex(),
        "amount": {"currency": "EUR", "value": 1130},
        "eventCode": "AUTHORISATION",
        "success": "true",
    }
    text = f"evt_1::Shop:{body.hex()}:1130:EUR:AUTHORISATION:true"
    return {}, adyen_body([item], [b64(mac(text.encode()))])


def _sendgrid(body: bytes, t: str) -> Mapping[str, str]:
    name = "X-Twilio-Email-Event-Webhook"
    signature = EC.sign(t.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {f"{name}-Signature": b64(signature), f"{name}-Timestamp": t}


def _paypal(body: bytes, at: datetime) -> Signed:
    when = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"evt_1|{when}|{WEBHOOK}|{binascii.crc32(body)}".encode()
    return {
        "PAYPAL-TRANSMISSION-SIG": b64(rsa_key().sign(text, padding.PKCS1v15(), hashes.SHA256())),
        "PAYPAL-TRANSMISSION-ID": "evt_1",
        "PAYPAL-TRANSMISSION-TIME": when,
        "PAYPAL-CERT-URL": PAYPAL_URL,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }, body


def sns_body(text: str, at: datetime, version: str = "2", **more: str) -> bytes:
    """A signed notification of SNS."""
    fields = {
        "Message": text,
        "MessageId": "evt_1",
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "TopicArn": ARN,
        "Type": "Notification",
    } | more
    content = "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields)).encode()
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = b64(rsa_key().sign(content, padding.PKCS1v15(), digest))
    outer = {"Signature": signature, "SignatureVersion": version, "SigningCertURL": SNS_URL}
    return json.dumps(fields | outer).encode()


def _sns(body: bytes, at: datetime) -> Signed:
    return {"x-amz-sns-message-type": "Notification"}, sns_body(body.hex(), at)


class Message:
    """A request as the message-signature library wants it."""

    def __init__(self, headers: dict[str, str], url: str = URL, method: str = "POST") -> None:
        self.headers = headers
        self.url = url
        self.method = method


class Resolver(HTTPSignatureKeyResolver):
    """One key for every id."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def resolve_private_key(self, key_id: str) -> Any:
        return self.key

    def resolve_public_key(self, key_id: str) -> Any:
        return self.key


def sign_message(
    body: bytes,
    at: datetime,
    *,
    key: Any = SECRET,
    algorithm: Any = algorithms.HMAC_SHA256,
    components: tuple[str, ...] = ("@method", "@target-uri", "content-digest"),
    headers: Mapping[str, str] | None = None,
    **parameters: Any,
) -> dict[str, str]:
    """The headers of a message that the library signed."""
    digest = b64(hashlib.sha256(body).digest())
    message = Message({"Content-Digest": f"sha-256=:{digest}:", **(headers or {})})
    HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Resolver(key)).sign(
        message,
        key_id=parameters.pop("key_id", "k1"),
        created=at,
        label="sig1",
        covered_component_ids=components,
        use_existing_digest=True,
        **parameters,
    )
    return message.headers


def _prefixed(name: str, prefix: str, algorithm: str, more: Mapping[str, str]) -> Any:
    return _headers(lambda body, _: {name: prefix + mac(body, algorithm).hex(), **more})


GITHUB = {"X-GitHub-Delivery": "evt_1"}
HEX = (Key("k1", SECRET.hex().encode()),)
SENDERS: dict[str, Sender] = {
    "standard-webhooks": Sender(_standard("webhook", "v1", mac)),
    "standard-webhooks-v1a": Sender(
        _standard("webhook", "v1a", ED.sign),
        (Key("k1", b"whpk_" + b64(raw_public(ED)).encode()),),
    ),
    "svix": Sender(_standard("svix", "v1", mac)),
    "gitlab": Sender(_standard("webhook", "v1", mac)),
    "stripe": Sender(
        _headers(
            lambda body, t: {"Stripe-Signature": f"t={t},v1={mac(t.encode() + b'.' + body).hex()}"}
        )
    ),
    "slack": Sender(
        _headers(
            lambda body, t: {
                "X-Slack-Request-Timestamp": t,
                "X-Slack-Signature": "v0=" + mac(f"v0:{t}:".encode() + body).hex(),
            }
        )
    ),
    "zoom": Sender(
        _headers(
            lambda body, t: {
                "x-zm-request-timestamp": t,
                "x-zm-signature": "v0=" + mac(f"v0:{t}:".encode() + body).hex(),
            }
        )
    ),
    "hubspot": Sender(_hubspot, body=b'[{"eventId":1},{"eventId":2}]'),
    "hubspot-v1": Sender(
        _headers(
            lambda body, _: {
                "X-HubSpot-Signature": hashlib.sha256(SECRET + body).hexdigest(),
                "X-HubSpot-Signature-Version": "v1",
            }
        ),
        body=b'[{"eventId":1}]',
    ),
    "hubspot-v2": Sender(
        _headers(
            lambda body, _: {
                "X-HubSpot-Signature": hashlib.sha256(
                    SECRET + b"POST" + URL.encode() + body
                ).hexdigest(),
                "X-HubSpot-Signature-Version": "v2",
            }
        ),
        body=b'[{"eventId":1}]',
    ),
    "github": Sender(_prefixed("X-Hub-Signature-256", "sha256=", "sha256", GITHUB)),
    "github-sha1": Sender(_prefixed("X-Hub-Signature", "sha1=", "sha1", GITHUB)),
    "intercom": Sender(_prefixed("X-Hub-Signature", "sha1=", "sha1", {})),
    "atlassian": Sender(
        _prefixed("X-Hub-Signature", "sha256=", "sha256", {"X-Request-UUID": "evt_1"})
    ),
    "shopify": Sender(
        _headers(
            lambda body, _: {
                "X-Shopify-Hmac-SHA256": b64(mac(body)),
                "X-Shopify-Webhook-Id": "evt_1",
            }
        )
    ),
    "linear": Sender(_linear),
    "pagerduty": Sender(
        _headers(lambda body, _: {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={mac(body).hex()}"}),
        body=b'{"event":{"id":"evt_1"}}',
    ),
    "adyen": Sender(_adyen, HEX),
    "adyen-platform": Sender(
        _headers(lambda body, _: {"HmacSignature": b64(mac(body))}),
        HEX,
        body=b'{"data":{"id":"evt_1"}}',
    ),
    "twilio": Sender(_twilio),
    "square": Sender(
        _headers(lambda body, _: {"x-square-hmacsha256-signature": b64(mac(URL.encode() + body))})
    ),
    "gitlab-token": Sender(
        _headers(lambda body, _: {"X-Gitlab-Token": SECRET.decode(), "Idempotency-Key": "evt_1"})
    ),
    "cloudevents": Sender(
        _headers(
            lambda body, _: {
                "Authorization": f"Bearer {SECRET.decode().replace(' ', '_')}",
                "ce-id": "1",
                "ce-source": "/evt",
            }
        ),
        (Key("k1", SECRET.replace(b" ", b"_")),),
    ),
    "discord": Sender(
        _headers(
            lambda body, t: {
                "X-Signature-Ed25519": ED.sign(t.encode() + body).hex(),
                "X-Signature-Timestamp": t,
            }
        ),
        (Key("k1", raw_public(ED).hex().encode()),),
    ),
    "sendgrid": Sender(
        _headers(_sendgrid),
        (Key("k1", b64(der_public(EC)).encode()),),
        body=b'[{"sg_event_id":"evt_1"}]',
    ),
    "paypal": Sender(_paypal, (Key("k1", WEBHOOK.encode()),), options={"fetch": fetch}),
    "paypal-sandbox": Sender(
        lambda body, at: (
            {
                **_paypal(body, at)[0],
                "PAYPAL-CERT-URL": PAYPAL_URL.replace("api.", "api.sandbox."),
            },
            body,
        ),
        (Key("k1", WEBHOOK.encode()),),
        options={"fetch": lambda url: fetch(url.replace("api.sandbox.", "api."))},
    ),
    "aws-sns": Sender(_sns, (Key("k1", ARN.encode()),), options={"fetch": fetch}),
    "rfc9421": Sender(lambda body, at: (sign_message(body, at, nonce="evt_1"), body)),
}


def options_of(scheme: str) -> dict[str, Any]:
    """The settings that the scheme's verifier needs in tests."""
    found = dict(SENDERS[scheme].options or {})
    return found | ({"roots": root()[1]} if scheme.startswith("paypal") else {})
