"""Texts of others: nothing in them is hidden, and what the environment keeps secret is not told."""

import pytest

from traces.printable import one_line, visible, without_secrets

SECRETS = {
    "HF_TOKEN": "hf_plantedplantedplanted",
    "OPENAI_API_KEY": "sk-planted-0123456789",
    "MY_SECRET": "/scratch/planted-secret",
    "http_proxy": "http://someone:planted%40word@proxy.example:3128",
    "HF_ENDPOINT": "https://user:plantedpassword@hub.example",
    "GITHUB_PAT": "planted pat",
    "DB_PWD": 'planted "pwd',
    "COMPATIBLE": "planted-words",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 日本 \N{OWL} 50% $x$", "plain, ünïcode 日本 \N{OWL} 50% $x$"),
        ("two\nlines\tand\r\nmore", "two\nlines\tand\nmore"),
        ("nul\x00 esc\x1b[31m", "nul⟨U+0000⟩ esc⟨U+001B⟩[31m"),
        ("right\u202eleft\u2066", "right⟨U+202E⟩left⟨U+2066⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("half \ud83d", "half ⟨U+D83D⟩"),
        ("\u2028line", "⟨U+2028⟩line"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),  # a joiner that Persian is written with
    ],
)
def test_what_cannot_be_seen_is_named(text, shown):
    assert visible(text) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Oven", " Oven"),
        ("\n\t", "↵⇥"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("a\u3000b\u200d", "a⟨U+3000⟩b⟨U+200D⟩"),
        ("\u200f", "⟨U+200F⟩"),
    ],
)
def test_a_token_has_no_blank_but_the_common_space(token, shown):
    assert visible(token, token=True) == shown


def test_a_title_is_one_line():
    assert one_line(" two\n lines\u00a0\x00 ") == "two lines ⟨U+0000⟩"


@pytest.fixture
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Bearer hf_plantedplantedplanted", "Bearer $HF_TOKEN"),
        ("key sk-planted-0123456789!", "key $OPENAI_API_KEY!"),
        ("/scratch/planted-secret/rows.jsonl is not there", "$MY_SECRET/rows.jsonl is not there"),
        (
            "via http://someone:planted%40word@proxy.example:3128",
            "via http://***@proxy.example:3128",
        ),
        ("https://user:plantedpassword@hub.example/api?x=a@b", "https://***@hub.example/api?x=a@b"),
        ("https://other:p@ss@host.example/", "https://***@host.example/"),
        ("https://tokenonly@host.example/", "https://***@host.example/"),
        ("the proxy refused plantedpassword", "the proxy refused $HF_ENDPOINT"),
        ("git?key=planted%20pat", "git?key=$GITHUB_PAT"),
        (r'{"given": "planted \"pwd"}', '{"given": "$DB_PWD"}'),
        ("of planted-words", "of planted-words"),
    ],
)
def test_secrets_become_the_names_of_their_variables(secrets, text, told):
    assert without_secrets(text) == told


@pytest.mark.parametrize(
    "text",
    ["https://hub.example/a@b", "mail me@host.example, see https://x.example", "a://b c@d", ""],
)
def test_what_is_no_secret_stays(secrets, text):
    assert without_secrets(text) == text


def test_a_short_value_is_no_secret(monkeypatch):
    monkeypatch.setenv("KEY_OF_NOTHING", "false")
    assert without_secrets("that is false") == "that is false"
