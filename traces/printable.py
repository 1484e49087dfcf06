"""
Texts that others wrote, made fit to be shown: nothing in them is hidden, and no secret is told.

Tokens, rows and titles may hold any character, and a message of a library may quote an address with
a password. What is shown goes through here: pages (traces/report/pages.py), pictures
(traces/report/figures/style.py), logs and the last words of a job (traces/job.py).
"""

import json
import os
import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Joiners shape letters in Persian and Indic scripts and emoji, so that text needs them.
_KEPT = "\n\t\u200c\u200d"


class _Names(dict[int, int | str]):
    """A table for `str.translate`: characters of some categories by name, such as ⟨U+202E⟩."""

    def __init__(self, categories: set[str], signs: dict[str, str]) -> None:
        super().__init__({ord(character): sign for character, sign in signs.items()})
        self._categories = categories

    def __missing__(self, code: int) -> int | str:
        hidden = unicodedata.category(chr(code)) in self._categories
        self[code] = f"⟨U+{code:04X}⟩" if hidden else code
        return self[code]


_IN_TEXT = _Names(_HIDDEN, {one: one for one in _KEPT})
_ALONE = _Names(_HIDDEN | {"Zs"}, {" ": " ", "\n": "↵", "\t": "⇥"})


def visible(text: str, *, token: bool = False) -> str:
    """
    The text with every character that cannot be seen, or that turns others around, named.

    token : it stands by itself: line breaks and tabs get a sign, unusual spaces and joiners a name

    The result holds no control character but line breaks and tabs, and is always valid Unicode.
    """
    if text.isprintable():
        return text
    return text.translate(_ALONE) if token else text.replace("\r\n", "\n").translate(_IN_TEXT)


def one_line(text: str) -> str:
    """A title as one visible line: every run of white space is one space."""
    return visible(" ".join(text.split()))


# Secrets ----------------------------------------------------------------------------------------

_SECRET = re.compile(
    r"TOKEN|KEY|SECRET|PASS|PWD|CRED|AUTH|COOKIE|WEBHOOK|BEARER|(?<![A-Z])(PAT|JWT)(?![A-Z])",
    re.IGNORECASE,
)
# The folder that a process is in, and the one before.
_FOLDERS = ("PWD", "OLDPWD")
# Shorter values are words, numbers or switches, and replacing these would spoil every message.
_SHORTEST = 8
# What stands before the host of an address: a user, or a user and a password.
_USER = re.compile(r"(?<=://)[^\s/?#\"'<>]+@")
_PASSWORD = re.compile(r"://[^\s/?#:]*:([^\s/?#]+)@")


def without_secrets(text: str) -> str:
    """
    The text without what the environment keeps secret.

    A value of a variable whose name says that it is a secret becomes the variable, such as
    $HF_TOKEN. An address loses its user and password.
    """
    for name, value in _secrets():
        text = text.replace(value, f"${name}")
    return _USER.sub("***@", text)


def _secrets() -> list[tuple[str, str]]:
    """Variables and secret values, the longest first, since one may hold another."""
    # Messages show a line break at the end of a key in another way, or not at all.
    named = [name for name in os.environ if _SECRET.search(name) and name not in _FOLDERS]
    found = [(name, os.environ[name].strip()) for name in named]
    # Addresses and JSON write some characters otherwise.
    found += [(name, _in_an_address(value)) for name, value in found]
    found += [(name, json.dumps(value)[1:-1]) for name, value in found]
    for name, value in os.environ.items():
        found += [(name, password) for password in _PASSWORD.findall(value)]
    return sorted(
        [pair for pair in found if len(pair[1]) >= _SHORTEST], key=lambda pair: -len(pair[1])
    )


def _in_an_address(value: str) -> str:
    kept = re.compile(r"[\w.~-]", re.ASCII)
    return "".join(
        one if kept.match(one) else "".join(f"%{byte:02X}" for byte in one.encode(errors="replace"))
        for one in value
    )
