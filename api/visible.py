"""Text of strangers on a terminal or in a log: every control character is shown, none is obeyed."""

import re

# C0 and DEL, C1, line and paragraph separators, marks that turn the direction of writing, tags, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
_PICTURES_FROM = 0x2400
_C0_END, _DELETE, _DELETE_PICTURE = 0x20, 0x7F, "\u2421"


def visible(text: str) -> str:
    """The text with pictures (␛, ␊) for ASCII's control characters, and `<U+202E>` for the rest of what steers a terminal."""
    return _UNPRINTABLE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < _C0_END:
        return chr(_PICTURES_FROM + code)
    return _DELETE_PICTURE if code == _DELETE else f"<U+{code:04X}>"
