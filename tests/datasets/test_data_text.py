"""The reader of LRS text files: five rules, and strange files that must not stop it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.text import media_problems, normalise, parse_lrs, parse_plain

LRS3 = (
    "Text:  WE DON'T NEED 2\nConf:  4\nRef:  abcdefghijk\n\nFRAME \tX \tY \tW \tH \n"
    "000120 \t0.402 \t0.118 \t0.187 \t0.332 \n000121 \t0.402 \t0.119 \t0.187 \t0.332 \n\n"
    "WORD START END ASDSCORE\nWE 0.08 0.21 7.3\nDON'T 0.21 0.55 8.1\nNEED 0.55 0.84 6.0\n2 0.84 1.10 5.2\n"
)
LRS2 = "Text:  WE DON'T NEED 2\nConf:  5\n\nWORD START END ASDSCORE\nWE 0.08 0.21 7.3\nDON'T 0.21 0.55 8.1\n"


def codes(data: bytes) -> set[str]:
    return {code for code, _ in parse_lrs(data).problems}


def test_reads_all_blocks_of_an_lrs3_file() -> None:
    text = parse_lrs(LRS3.encode())
    assert (text.raw, text.norm, text.conf, text.ref) == ("WE DON'T NEED 2", "WE DON'T NEED 2", 4, "abcdefghijk")
    assert text.track is not None and [row.frame for row in text.track] == [120, 121]
    assert text.track[0].height == 0.332
    assert text.words is not None and [(w.text, w.start, w.end, w.score) for w in text.words][-1] == (
        "2",
        0.84,
        1.1,
        5.2,
    )
    assert text.problems == ()


def test_finds_the_words_of_lrs2_at_once_after_the_head() -> None:
    text = parse_lrs(LRS2.encode())
    assert text.track is None
    assert text.words is not None and len(text.words) == 2
    assert {code for code, _ in text.problems} == {"words-mismatch"}  # the fixture leaves out two words


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b, lambda b: b"\n\n" + b]
)
def test_line_ends_mark_and_leading_lines_change_nothing(change) -> None:  # type: ignore[no-untyped-def]
    assert parse_lrs(change(LRS3.encode())) == parse_lrs(LRS3.encode())


def test_head_is_split_at_the_first_colon_and_ends_at_the_first_empty_line() -> None:
    text = parse_lrs(b"Text:  AT 10:30 NOW\nFilm: A: B\n\nConf:  7\n")
    assert text.raw == "AT 10:30 NOW"
    assert text.head["Film"] == "A: B"
    assert text.conf is None
    assert "text-charset" in {code for code, _ in text.problems}


def test_word_rows_are_split_from_the_right() -> None:
    text = parse_lrs(b"Text:  A LOT MORE\n\nWORD START END ASDSCORE\nA LOT 0.1 0.2 1.0\nMORE 0.2 0.3 1.0\n")
    assert text.words is not None and text.words[0].text == "A LOT"
    assert text.problems == ()


def test_marks_in_braces_go_with_their_content() -> None:
    assert normalise("{NS}  we   DON'T {LG} need {x y} 2") == "WE DON'T NEED 2"
    assert codes(b"Text:  {NS} WE {LG} NEED 2\n") == set()
    assert parse_lrs(b"Text:  {NS} WE {LG} NEED 2\n").raw == "{NS} WE {LG} NEED 2"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {"text-head"}),
        (b"Conf:  4\n", {"text-head"}),
        (b"Text:\n", {"text-head"}),
        (b"Text:  {NS}\n", {"text-head"}),
        (b"Text:  WE, THE PEOPLE\n", {"text-charset"}),
        (b"Text:  W\x00E\n", {"text-charset"}),
        (b"Text:  we NEED\n", {"text-case"}),
        ("Text:  ПРИВЕТ\n".encode(), {"text-charset"}),
        ("Text:  １２\n".encode(), {"text-charset"}),
        (b"Text:  W\xff\n", {"text-charset"}),
        ("Text:  WE\n".encode("utf-16"), {"text-head", "text-charset"}),
        (b"Text:  WE\n\nWORD START END ASDSCORE\nWE 0.5 0.1 1\n", {"words-times"}),
        (b"Text:  WE\n\nWORD START END ASDSCORE\nWE -1 0.1 1\n", {"words-times"}),
        (b"Text:  WE\n\nWORD START END ASDSCORE\nWE nan 0.1 1\n", {"words-times"}),
        (b"Text:  WE GO\n\nWORD START END ASDSCORE\nWE 0.5 0.6 1\nGO 0.1 0.2 1\n", {"words-times"}),
        (b"Text:  WE\n\nWORD START END ASDSCORE\nWE 0.1\n", {"words-mismatch"}),
        (b"Text:  WE\n\nWORD START END ASDSCORE\nIT 0.1 0.2 1\n", {"words-mismatch"}),
    ],
)
def test_what_is_wrong_has_its_code(data: bytes, expected: set[str]) -> None:
    assert codes(data) == expected


def test_media_problems_allow_a_fifth_of_a_second_and_one_row() -> None:
    text = parse_lrs(LRS3.encode())
    assert media_problems(text, 3, 0.9) == []
    assert {code for code, _ in media_problems(text, 4, 0.89)} == {"track-length", "words-times"}


def test_conf_that_is_no_int32_is_left_out() -> None:
    for value in (b"high", b"4.5", b"99999999999", b"9" * 5000):
        assert parse_lrs(b"Text:  WE\nConf:  " + value + b"\n").conf is None


def test_plain_text_keeps_case_and_script() -> None:
    text = parse_plain("Ünïcode, please.\r\nsecond line\n".encode())
    assert text.norm == "Ünïcode, please. second line"
    assert text.problems == ()
    assert parse_plain(b"Text:  {NS} Mixed Case\nConf:  3\n").norm == "Mixed Case"
    assert parse_plain(b"note: this is speech").norm == "note: this is speech"
    assert parse_plain(b" \n").problems[0][0] == "text-head"


def test_ten_thousand_words_are_read() -> None:
    text = parse_lrs(b"Text:  " + b"WORD " * 10_000 + b"\n")
    assert text.norm is not None and len(text.norm.split()) == 10_000
    assert text.problems == ()


@given(st.binary(max_size=300))
def test_never_raises(data: bytes) -> None:
    parse_lrs(data)
    parse_plain(data)


@given(
    st.lists(
        st.sampled_from(["Text:  A", "", "WORD START END ASDSCORE", "FRAME \tX \tY \tW \tH", "A 1 2 3", "9 1 1 1 1"])
    )
)
def test_never_raises_on_shuffled_blocks(lines: list[str]) -> None:
    parse_lrs("\n".join(lines).encode())
