"""Text to ASCII, as the official front end's transliteration does it for European text.

The official code uses Unidecode (GPL-2+), which the core must not need. This fold decomposes (NFKD), drops what
is left outside ASCII, and has a table for the characters that need one. It equals Unidecode 1.4 for Latin-1,
Latin Extended-A and common punctuation; other scripts are dropped, not transliterated.
"""

from __future__ import annotations

import unicodedata

_TABLE: dict[str, str] = {
    character: ascii_text
    for characters, ascii_text in (
        ("“”‟¨", '"'),
        ("‘’‛′´", "'"),
        ("„", ",,"),
        ("‚¸", ","),
        ("‐‑‒–−¯", "-"),
        ("—―", "--"),
        ("«", "<<"),
        ("»", ">>"),
        ("‹", "<"),
        ("›", ">"),
        ("¡¬", "!"),
        ("¿", "?"),
        ("•·", "*"),
        ("″", "''"),
        ("‽", "!?"),
        ("ß", "ss"),
        ("æ", "ae"),
        ("Æ", "AE"),
        ("œ", "oe"),
        ("Œ", "OE"),
        ("þ", "th"),
        ("Þ", "Th"),
        ("ŋ", "ng"),
        ("Ŋ", "NG"),
        ("ŉ", "'n"),
        ("×", "x"),
        ("÷", "/"),
        ("±", "+-"),
        ("µ", "u"),
        ("°", "deg"),
        ("§", "SS"),
        ("£", "PS"),
        ("€", "EUR"),
        ("¥", "Y="),
        ("¢", "C/"),
        ("©", "(c)"),
        ("®", "(r)"),
        ("™", "(tm)"),
        ("¼", " 1/4"),
        ("½", " 1/2"),
        ("¾", " 3/4"),
        ("¤", "$?"),
        ("¦", "|"),
        ("¶", "P"),
        ("\u200b", " "),
        ("\u2028\u2029", "\n"),
        ("‖", "||"),
        ("†", "+"),
        ("‡", "++"),
        ("‰", "%0"),
        ("⁄", "/"),
        ("₹", "Rs"),
        ("℃", "degC"),
        ("℉", "degF"),
        ("№", "No. "),
    )
    for character in characters
}
_TABLE.update(zip("øØłŁđĐðÐħĦŧŦıĸ", "oOlLdDdDhHtTik", strict=True))


def to_ascii(text: str) -> str:
    """``text`` in ASCII. Control characters other than white space become blanks (NUL would end espeak's input)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_character(c) for c in text)


def _character(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() or character.isspace() else " "
    if character in _TABLE:
        return _TABLE[character]
    parts = unicodedata.normalize("NFKD", character)
    return "".join("/" if c == "⁄" else c for c in parts if c.isascii() or c == "⁄")
