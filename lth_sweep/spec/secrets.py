"""What is not to be shown."""

import re


def mask(text: str) -> str:
    """Without the user names and passwords of its URIs."""
    return re.sub(r"://[^/@\s]*@", "://***@", text)
