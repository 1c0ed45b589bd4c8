"""Log lines as the servers' and services' own documents show them, and what each must become.

Sources, as read in November 2026
- nginx: http://nginx.org/en/docs/http/ngx_http_log_module.html (format `combined`, escapes)
- Apache: https://httpd.apache.org/docs/2.4/logs.html (the frank lines), mod_log_config.html
- AWS: docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
- Cloudflare: developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/
- GitHub: https://docs.github.com/en/rest/repos/webhooks (hook-delivery-item and hook-delivery)
"""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Good:
    """A line and the facts that it must give."""

    name: str
    line: str
    facts: dict[str, Any]
    mapping: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bad:
    """A line that is no call: the word for why; `skipped` = right, but no request to import."""

    name: str
    line: str
    code: str
    skipped: bool = False


AT = 1_790_843_696_000_000  # 2026-10-01T08:34:56Z
UA = "GitHub-Hookshot/1440bf9"
NGINX = '140.82.115.10 - - [01/Oct/2026:08:34:56 +0000] "POST /hooks/github HTTP/1.1" 200 2 "-" '
FRANK = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
ALB = (
    "{kind} 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 {client} {target} "
    '{times} {status} {target_status} {sizes} "{request}" "curl/7.46.0" {tls} '
    "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "
    '"Root=1-58337281-1d84f3d73c47ec4e58577259" "{sni}" "-" 1 {created} "forward" "-" "-" '
    '"10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90'
)


def alb(**fields: str) -> str:
    """A line of a load balancer."""
    usual = {
        "kind": "https", "client": "192.168.131.39:2817", "target": "10.0.0.1:80",
        "times": "0.086 0.048 0.037", "status": "200", "target_status": "200", "sizes": "0 57",
        "request": "GET https://www.example.com:443/ HTTP/1.1", "sni": "www.example.com",
        "tls": "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2", "created": "2018-07-02T22:22:48.364000Z",
    }  # fmt: skip
    return ALB.format(**(usual | fields))


CLOUDFLARE: dict[str, Any] = {
    "ClientIP": "203.0.113.7", "ClientASN": 36459, "ClientCountry": "us",
    "ClientRequestBytes": 8935, "ClientRequestHost": "Hooks.Example.com",
    "ClientRequestMethod": "POST", "ClientRequestPath": "/hooks/github",
    "ClientRequestURI": "/hooks/github?token=s3cr3t", "ClientRequestUserAgent": UA,
    "EdgeResponseStatus": 200, "EdgeStartTimestamp": "2026-10-01T08:34:56Z",
    "EdgeTimeToFirstByteMs": 201, "JA4": "t13d1516h2_8daaf6152771_e5627efa2ab1",
    "RayID": "1111111111111111", "SecurityAction": "",
}  # fmt: skip
DELIVERY: dict[str, Any] = {
    "id": 42, "guid": "58474f00-b361-11eb-836d-0e4f3503ccbe",
    "delivered_at": "2021-05-12T20:33:44Z", "redelivery": False, "duration": 0.03,
    "status": "OK", "status_code": 200, "event": "issues", "action": "opened",
    "installation_id": 123, "repository_id": 456, "throttled_at": None,
}  # fmt: skip
NGINX_JSON: dict[str, Any] = {
    "time_iso8601": "2026-10-01T10:34:57+02:00", "remote_addr": "140.82.115.10",
    "request_method": "POST", "request_uri": "/hooks/github?x=1", "status": "401",
    "host": "hooks.example.com", "http_user_agent": UA, "request_time": "1.000",
    "content_length": "512", "request_length": "900", "http_x_forwarded_for": "",
}  # fmt: skip


def changed(row: dict[str, Any], **fields: Any) -> str:
    """A JSON line with other fields; ... leaves one out."""
    made = {name: value for name, value in (row | fields).items() if value is not ...}
    return json.dumps(made)


GOOD: dict[str, list[Good]] = {
    "nginx": [
        Good("combined", f'{NGINX}"{UA}"', {
            "time_us": AT, "status": 200, "source_ip": "140.82.115.10", "method": "POST",
            "path": "/hooks/github", "user_agent": UA, "body_bytes": None, "host": None,
        }),
        Good("query and fragment are forgotten",
             f'{NGINX.replace("github ", "github?token=s3cr3t#x ")}"{UA}"',
             {"path": "/hooks/github"}),
        Good("another zone", f'{NGINX.replace("08:34:56 +0000", "03:04:56 -0530")}"-"',
             {"time_us": AT, "user_agent": None}),
        Good("IPv6", f'{NGINX.replace("140.82.115.10", "2A0A:A440::1")}"x"',
             {"source_ip": "2a0a:a440::1"}),
        Good("escaped quotes and UTF-8", NGINX + r'"Acme \x22x\x22 \xC3\xA9"',
             {"user_agent": 'Acme "x" é'}),
        Good("a user name that plays a line",
             NGINX.replace("- - [", r"- x [01/Jan/1999:00:00:00 +0000] \x22GET / \x22 200 [")
             + '"x"', {"time_us": AT, "path": "/hooks/github"}),
        Good("absolute target and no HTTP/2 name",
             NGINX.replace("/hooks/github HTTP/1.1", "https://Hooks.Example.com:443/a HTTP/2.0")
             + '"x"', {"path": "/a", "host": "hooks.example.com"}),
        Good("time, sizes and the client behind a proxy", f'{NGINX}"{UA}" "192.0.2.1" 1.5 640',
             {"time_us": AT - 1_500_000, "duration_ms": 1500.0, "request_bytes": 640,
              "forwarded_for": "192.0.2.1"},
             {"extra": ("forwarded_for", "request_time", "request_length")}),
        Good("milliseconds", f'{NGINX}"{UA}" 1790843696.250', {"time_us": AT + 250_000},
             {"extra": ("msec",)}),
        Good("more fields than named", f'{NGINX}"{UA}" 0.25 "a b" -', {"duration_ms": 250.0},
             {"extra": ("request_time",)}),
    ],
    "apache": [
        Good("common", FRANK, {
            "time_us": 971_211_336_000_000, "status": 200, "source_ip": "127.0.0.1",
            "method": "GET", "path": "/apache_pb.gif", "user_agent": None,
        }),
        Good("combined",
             f'{FRANK} "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"',
             {"user_agent": "Mozilla/4.08 [en] (Win98; I ;Nav)"}),
        Good("vhost_combined", f'hooks.example.com:443 {FRANK} "-" "{UA}"',
             {"host": "hooks.example.com", "source_ip": "127.0.0.1", "user_agent": UA}),
        Good("escaped by backslashes", FRANK + r' "-" "a \"b\" \\ c\td"',
             {"user_agent": 'a "b" \\ c\td'}),
        Good("a user name with blanks", FRANK.replace("frank", "frank the [2nd]"),
             {"time_us": 971_211_336_000_000, "method": "GET"}),
        Good("microseconds: the time is that of the begin", f'{FRANK} "-" "x" 250000',
             {"time_us": 971_211_336_000_000, "duration_ms": 250.0},
             {"extra": ("request_time_us",)}),
    ],
    "nginx-json": [
        Good("nginx's own names", changed(NGINX_JSON), {
            "time_us": AT, "status": 401, "source_ip": "140.82.115.10", "method": "POST",
            "path": "/hooks/github", "host": "hooks.example.com", "user_agent": UA,
            "duration_ms": 1000.0, "body_bytes": 512, "request_bytes": 900,
            "forwarded_for": None,
        }),
        Good("request line and msec",
             changed(NGINX_JSON, time_iso8601=..., msec="1790843697.000", request_method=...,
                     request_uri=..., request="PUT /a?b HTTP/2.0", status=204),
             {"time_us": AT, "method": "PUT", "path": "/a", "status": 204}),
        Good("keys of another server",
             json.dumps({"ts": 1790843696.0, "request": {"remote_ip": "192.0.2.7", "method": "POST",
                         "uri": "/hooks/a"}, "status": 200, "duration": 0.0}),
             {"time_us": AT, "source_ip": "192.0.2.7", "path": "/hooks/a"},
             {"fields": {"time": "ts", "source_ip": "request.remote_ip",
                         "method": "request.method", "path": "request.uri",
                         "duration_s": "duration"}}),
        Good("a list of upstreams is no number", changed(NGINX_JSON, request_time="0.1, 0.2"),
             {"duration_ms": None}),
    ],
    "alb": [
        Good("https", alb(), {
            "time_us": 1_530_570_168_364_000, "status": 200, "source_ip": "192.168.131.39",
            "method": "GET", "path": "/", "host": "www.example.com", "user_agent": "curl/7.46.0",
            "duration_ms": 171.0, "request_bytes": 0, "blocked": False,
        }),
        Good("http", alb(kind="http", tls="- -", sni="-", times="0.000 0.001 0.000",
                         sizes="34 366", request="GET http://www.example.com:80/ HTTP/1.1"),
             {"request_bytes": 34, "duration_ms": 1.0, "host": "www.example.com"}),
        Good("h2", alb(kind="h2", client="10.0.1.252:48160",
                       request="GET https://10.0.2.105:773/ HTTP/2.0"),
             {"source_ip": "10.0.1.252", "host": "10.0.2.105"}),
        Good("the target never answered", alb(times="0.000 -1 -1", status="504",
                                              target_status="-"),
             {"status": 504, "duration_ms": None, "blocked": False}),
        Good("the firewall said no", alb(target="-", times="-1 -1 -1", status="403",
                                         target_status="-"), {"status": 403, "blocked": True}),
        Good("IPv6", alb(client="2001:db8::7:2817"), {"source_ip": "2001:db8::7"}),
        Good("the first version of the format",
             "h2 2016-08-10T00:10:33.145057Z app/my-loadbalancer/50dc6c495c0c9188 "
             "10.0.1.252:48160 10.0.0.66:9000 0.000 0.002 0.000 200 200 5 257 "
             '"GET https://10.0.2.105:773/ HTTP/2.0" "curl/7.46.0" '
             "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-west-2:1:x/y/z "
             '"Root=1-58337327-72bd00b0343d75b906739c42"',
             {"time_us": 1_470_787_833_143_057, "status": 200}),
    ],
    "cloudflare": [
        Good("http_requests", changed(CLOUDFLARE), {
            "time_us": AT, "status": 200, "source_ip": "203.0.113.7", "method": "POST",
            "path": "/hooks/github", "host": "hooks.example.com", "user_agent": UA,
            "request_bytes": 8935, "asn": 36459, "country": "US", "duration_ms": 201.0,
            "tls_fp": "t13d1516h2_8daaf6152771_e5627efa2ab1", "blocked": False,
            "client_cert_fp": None,
        }),
        Good("nanoseconds", changed(CLOUDFLARE, EdgeStartTimestamp=AT * 1000), {"time_us": AT}),
        Good("seconds", changed(CLOUDFLARE, EdgeStartTimestamp=AT // 10**6), {"time_us": AT}),
        Good("URI alone", changed(CLOUDFLARE, ClientRequestPath=...), {"path": "/hooks/github"}),
        Good("blocked at the edge", changed(CLOUDFLARE, SecurityAction="block"),
             {"blocked": True}),
        Good("a certificate that was verified",
             changed(CLOUDFLARE, ClientMTLSAuthStatus="ok", ClientMTLSAuthCertFingerprint="ab12"),
             {"client_cert_fp": "ab12"}),
        Good("a certificate that was not",
             changed(CLOUDFLARE, ClientMTLSAuthStatus="bad_cert",
                     ClientMTLSAuthCertFingerprint="ab12"), {"client_cert_fp": None}),
        Good("no country", changed(CLOUDFLARE, ClientCountry="T1"), {"country": None}),
    ],
    "github": [
        Good("an item of a list", changed(DELIVERY), {
            "time_us": 1_620_851_624_000_000, "status": 200, "source_ip": "0.0.0.0",
            "method": "POST", "path": None, "event_type": "issues.opened", "duration_ms": 30.0,
            "delivery": b"58474f00-b361-11eb-836d-0e4f3503ccbe", "signature": None,
            "captures": {"event": "issues", "repository_id": "456", "installation_id": "123"},
        }),
        Good("a single delivery", changed(
            DELIVERY, url="https://hooks.example.com/hooks/github?secret=1", action=None,
            event="push", request={"payload": {"ref": "main"}, "headers": {
                "User-Agent": UA, "content-type": "application/json",
                "X-Hub-Signature-256": "sha256=" + "ab" * 32}},
            response={"headers": {}, "payload": "ok"}),
             {"path": "/hooks/github", "host": "hooks.example.com", "event_type": "push",
              "user_agent": UA, "content_type": "application/json", "signature": b"\xab" * 32}),
    ],
}  # fmt: skip

BAD: dict[str, list[Bad]] = {
    "nginx": [
        Bad("no line of a log", "hello world", "no_match"),
        Bad("cut off", NGINX[:60], "no_match"),
        Bad("no status", NGINX.partition(" 200")[0], "no_match"),
        Bad("a day that is none", f'{NGINX.replace("01/Oct", "31/Feb")}"x"', "bad_time"),
        Bad("a month that is none", f'{NGINX.replace("Oct", "Okt")}"x"', "bad_time"),
        Bad("a host name", f'{NGINX.replace("140.82.115.10", "example.com")}"x"', "bad_address"),
        Bad("a socket", f'{NGINX.replace("140.82.115.10", "unix:")}"x"', "bad_address"),
        Bad("no number", f'{NGINX.replace(" 200 ", " abc ")}"x"', "bad_status"),
        Bad("TLS to a port without", NGINX.replace("POST /hooks/github HTTP/1.1",
                                                   r"\x16\x03\x01\x02") + '"-"', "not_http", True),
        Bad("nothing was asked", NGINX.replace("POST /hooks/github HTTP/1.1", "") + '"-"',
            "no_request", True),
        Bad("CONNECT", NGINX.replace("POST /hooks/github", "CONNECT example.com:443") + '"-"',
            "not_http", True),
        Bad("nothing was answered", f'{NGINX.replace(" 200 ", " 000 ")}"x"', "no_answer", True),
    ],
    "apache": [
        Bad("an error log", "[Fri Oct 02 10:11:12 2026] [core:error] [pid 1] AH00126", "no_match"),
        Bad("a looked-up name", FRANK.replace("127.0.0.1", "localhost"), "bad_address"),
    ],
    "nginx-json": [
        Bad("no JSON", '{"time": ', "not_json"),
        Bad("escapes of the default kind", r'{"ua": "\x22"}', "not_json"),
        Bad("a list", "[1]", "not_object"),
        Bad("too deep", "[" * 50_000, "not_json"),
        Bad("no time", changed(NGINX_JSON, time_iso8601=...), "missing_field"),
        Bad("a time without a zone", changed(NGINX_JSON, time_iso8601="2026-10-01T10:34:57"),
            "bad_time"),
        Bad("no address", changed(NGINX_JSON, remote_addr=None), "missing_field"),
        Bad("an address of another type", changed(NGINX_JSON, remote_addr=7), "bad_address"),
        Bad("a status of another type", changed(NGINX_JSON, status=[200]), "bad_status"),
        Bad("a huge time", changed(NGINX_JSON, time_iso8601=1e300), "bad_time"),
        Bad("no request", changed(NGINX_JSON, request_uri=...), "missing_field"),
        Bad("no path", changed(NGINX_JSON, request_uri="*"), "not_http", True),
    ],
    "alb": [
        Bad("another log", FRANK, "no_match"),
        Bad("a classic load balancer", alb().partition(" ")[2], "no_match"),
        Bad("cut off", alb()[:120], "no_match"),
        Bad("no port", alb(client="192.168.131.39"), "bad_address"),
        Bad("no time", alb(created="yesterday"), "bad_time"),
        Bad("no answer", alb(status="-"), "no_answer", True),
        Bad("a malformed request", alb(request="- http://www.example.com:80- -"), "not_http", True),
    ],
    "cloudflare": [
        Bad("no JSON", "ClientIP,EdgeStartTimestamp", "not_json"),
        Bad("no address", changed(CLOUDFLARE, ClientIP=...), "missing_field"),
        Bad("no status", changed(CLOUDFLARE, EdgeResponseStatus=...), "missing_field"),
        Bad("a status that was never sent", changed(CLOUDFLARE, EdgeResponseStatus=0),
            "no_answer", True),
        Bad("no time", changed(CLOUDFLARE, EdgeStartTimestamp="soon"), "bad_time"),
    ],
    "github": [
        Bad("no guid", changed(DELIVERY, guid=...), "missing_field"),
        Bad("no time", changed(DELIVERY, delivered_at="05/12/2021 20:33:44"), "bad_time"),
        Bad("never arrived", changed(DELIVERY, status="failed to connect", status_code=502),
            "not_delivered", True),
        Bad("timed out", changed(DELIVERY, status="timed out", status_code=0), "no_answer", True),
        Bad("no JSON", '{"id": 42, "guid"', "not_json"),
        Bad("no object", "42", "not_object"),
    ],
}  # fmt: skip
