"""Check that readings and texts can match the words that a study lists."""

from traces.config.checks.places import Places
from traces.config.study import LoadedStudy
from traces.config.words import UNSPACED


def check_words(loaded: LoadedStudy, places: Places) -> None:
    """Check the listed words of every organism that the study makes."""
    for name in dict.fromkeys(one.organism for one in loaded.checkpoints()):
        _check_words(loaded, name, places)


def _check_words(loaded: LoadedStudy, name: str, places: Places) -> None:
    """Refuse listed words of scripts without spaces where whole words are counted."""
    study, listed = loaded.study, loaded.organisms[name].words
    unspaced = [word for word in listed if UNSPACED.search(word)]
    if not unspaced:
        return
    where = (
        f"{places.organism(name)}: words: found {unspaced[0]}, a word of a script without spaces"
    )
    if study.lenses.vocabulary == "words":
        raise ValueError(
            f"{where}, of which `lenses.vocabulary: words` ranks none; expected "
            "`lenses.vocabulary: all`"
        )
    steered = any(one.organism == name for one in loaded.checkpoints("steering"))
    if steered and study.steering.embedder == "tfidf":
        raise ValueError(
            f"{where}, which `steering.embedder: tfidf` cannot tell apart in text; expected a "
            "sentence-transformers model"
        )
