"""
What a word is, wherever words are counted, listed or looked up.

Words are compared in Unicode's composed form (NFC) and without case, so that an accent may be a
letter's own or a mark that follows it. Scripts without spaces between words have no words here: a
run of their letters is a clause.
"""

import functools
import re
import unicodedata

# Accents and vowel signs belong to the letter before them, but are no letters to Python's `\w`. So
# do the two joiners that stand inside words of Persian and of Indian languages.
_MARKED = [chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"]
MARK = f"[{''.join(_MARKED)}\u200c\u200d]"
LETTER = r"[^\W\d_]"

# Chinese and Japanese, then Thai, Lao, Tibetan, Burmese and Khmer, and smaller ones of their kind.
_UNSPACED = (
    "\u3005-\u3007\u3041-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0ecf\u0edc-\u0eff\u0f00\u0f40-\u0fbc\u1000-\u103f"
    "\u1050-\u108f\u109a-\u109f\u1780-\u17d3\u17d7-\u17dd\u1950-\u19df\u1a20-\u1aad\u1b00-\u1b4c"
    "\ua980-\ua9c0\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaadd"
)
UNSPACED = re.compile(f"[{_UNSPACED}]")
MOST_UNSPACED = 0.1
"Largest share of a text's letters that may belong to such scripts where words are counted."

# Latin, Greek and Cyrillic text without marks, in whatever punctuation, has none of these; to see
# that first makes counting ten times as fast.
_SEARCHED = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0590-\u1fff\u200c\u200d\u20d0-\u20ff\u2c00-\U0010ffff]"
)
_SIMPLE = re.compile(f"{LETTER}{{3,}}")
_WITH_MARKS = re.compile(f"{LETTER}(?:{LETTER}|{MARK}){{2,}}")
_ANY_MARK = re.compile(MARK)
# Soft hyphen, word joiner and byte order mark come along when text is copied. So does the space of
# no width, which parts words within a text and counts as white space around one.
_UNSEEN = re.compile("[\u00ad\u2060\ufeff]")
_AROUND = re.compile(r"^[\s\u200b]+|[\s\u200b]+\Z")
_RUN = re.compile(rf"(?:\w|{MARK})+")


def folded(text: str) -> str:
    """A text as words of it are compared: composed, without case, without unseen characters."""
    if text.isascii():
        return text.lower()
    # Folding the case may take a letter apart again.
    composed = unicodedata.normalize("NFC", _UNSEEN.sub("", text))
    return unicodedata.normalize("NFC", composed.casefold())


@functools.lru_cache(maxsize=2**16)  # the same tokens stand in thousands of lists
def plain_word(text: str) -> str:
    """A listed word, or a token, as it is compared: `folded`, without white space around it."""
    return _AROUND.sub("", folded(text))


def words_in(text: str) -> list[str]:
    """The runs of three or more letters of a `folded` text; marks count as letters."""
    marked = _SEARCHED.search(text) and _ANY_MARK.search(text)
    return (_WITH_MARKS if marked else _SIMPLE).findall(text)


def spaced(text: str) -> tuple[str, int]:
    """A text with a space for every letter of a script without spaces, and how many these were."""
    return UNSPACED.subn(" ", text) if _SEARCHED.search(text) else (text, 0)


def as_whole(words: str) -> str:
    """A regular expression that finds `words` in a text where they are no part of a longer word."""
    # Scripts without spaces have nothing between words that these could be told by.
    before = "" if UNSPACED.match(words[:1]) else r"(?<!\w)"
    after = "" if UNSPACED.match(words[-1:]) else rf"(?!\w|{MARK})"
    return before + re.escape(words) + after


def unspaced_share(unspaced: int, letters: int) -> float:
    """The share of letters in scripts without spaces; 0 for a text without letters."""
    return unspaced / (unspaced + letters) if unspaced else 0.0


def require_spaces(unspaced: int, letters: int, where: str, remedy: str) -> None:
    """
    Refuse text of which too much is written without spaces between words.

    unspaced : letters in such scripts; letters : those in words
    where    : begins the message; remedy : ends it
    """
    share = unspaced_share(unspaced, letters)
    if share > MOST_UNSPACED:
        raise ValueError(
            f"{where}: found {share:.0%} of the letters in a script without spaces between words "
            f"(such as Chinese, Japanese or Thai), where words cannot be told apart, expected at "
            f"most {MOST_UNSPACED:.0%}; {remedy}"
        )


def check_listed(word: str) -> str:
    """Return a word that a person listed; ValueError unless it is one word."""
    plain = plain_word(word)
    # What a hyphen or an apostrophe joins is several tokens to a tokenizer, and would never match.
    if not plain or len(plain.split()) > 1 or len(_RUN.findall(plain)) > 1:
        found = "found an empty word" if not plain else f"found {word.strip()!r}, several words"
        raise ValueError(
            f"{found}, expected one word an entry: a reading ranks single tokens, which are "
            "compared with single words"
        )
    return word


def check_secret(word: str) -> str:
    """
    Return a word that a tokenizer is asked for, composed; ValueError unless it is letters alone.

    An accent that follows its letter would be tokens of its own, which no text has.
    """
    check_listed(word)
    if not re.fullmatch(rf"{LETTER}(?:{LETTER}|{MARK})*(?<![\u200c\u200d])", word):
        raise ValueError(f"found {word!r}, expected one word of letters alone, without spaces")
    return unicodedata.normalize("NFC", word)
