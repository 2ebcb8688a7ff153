"""What is not to be shown."""

import re
from urllib.parse import parse_qs, urlsplit

from lth_sweep.lottery.common.errors import require


def mask(text: str) -> str:
    """Without the user names and passwords of its URIs."""
    return re.sub(r"\b(password=)[^&\s]*", r"\1***", re.sub(r"://[^/@\s]*@", "://***@", text))


def require_no_password(uri: str, field: str, instead: str) -> None:
    """Raise ConfigError for `field` where a URI in a sweep file has a password. `instead`: where it belongs."""
    url = urlsplit(uri)
    without = url.password is None and "password" not in parse_qs(url.query, keep_blank_values=True)
    require(without, field, f"has a password, which would be kept with the results; leave it to {instead}")
