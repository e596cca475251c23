"""A token's text: what it looks like, and how it is recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts import tokens


def test_generated_token_reads_back_as_itself() -> None:
    credential = tokens.generate()
    assert tokens.parse(credential.text) == credential
    assert credential.matches(credential.digest)


def test_secret_has_256_bits_and_the_digest_does_not_contain_it() -> None:
    credential = tokens.generate()
    assert len(bytes.fromhex(credential.secret)) == 32
    assert credential.secret not in credential.digest


def test_no_two_generated_tokens_are_equal() -> None:
    assert len({tokens.generate().text for _ in range(100)}) == 100


def test_another_secret_does_not_match() -> None:
    assert not tokens.generate().matches(tokens.generate().digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stw_",
        "stw__",
        "stw_0123456789ab",
        "stw_0123456789ab_",
        "stw_0123456789ab_" + "0" * 63,
        "stw_0123456789ab_" + "0" * 65,
        "stw_0123456789ab_" + "0" * 64 + "\n",
        "stw_0123456789AB_" + "0" * 64,
        "stw_0123456789ab_" + "g" * 64,
        "stw_\N{ARABIC-INDIC DIGIT ZERO}123456789ab_" + "0" * 64,
        "xyz_0123456789ab_" + "0" * 64,
        " stw_0123456789ab_" + "0" * 64,
        "stw_0123456789a\x00_" + "0" * 64,
    ],
)
def test_what_does_not_read_like_a_token_is_none(text: str) -> None:
    assert tokens.parse(text) is None


@given(st.text())
def test_parsing_any_text_raises_nothing(text: str) -> None:
    credential = tokens.parse(text)
    assert credential is None or credential.text == text
