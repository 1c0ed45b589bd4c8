"""JSON of one line: no name in it can end the line or act on a terminal."""

import json

from alerts.explain import escape_unprintable


def json_line(value: object) -> bytes:
    r"""A value as compact JSON in UTF-8, without a line end; all unprintable characters escaped.

    >>> json_line({"sender": "acm\u00e9\u202e\n"})
    b'{"sender":"acm\xc3\xa9\\u202e\\n"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return escape_unprintable(text).encode()
