"""Text as the backbone reads it, kept latents, and the official files' ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.api import Clip, Source, Unscorable
from bench.errors import DataError
from bench.prepare import prepare
from bench.progress import Progress
from bench.shards import PATTERN
from bench.systems.talker.latents import LATENTS, Latents
from bench.systems.talker.numerals import in_words, spelled_out
from bench.systems.talker.text import CHARACTERS, END, MOUTH, ROWS, SOUND, START, WHOLE, Characters, Chat, pieces

MARKS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")


def test_characters() -> None:
    table = Characters()
    assert table.ids("ab '") == [START, 3, 4, 29, 30, END]
    assert table.ids("") == [START, END]
    assert table.whole_ids("ab") == [WHOLE, 3, 4, END]
    assert WHOLE not in table.ids(CHARACTERS)
    assert [table.driven_ids(by_mouth) for by_mouth in (True, False)] == [[MOUTH, END], [SOUND, END]]
    assert max(MOUTH, SOUND) < ROWS and {MOUTH, SOUND}.isdisjoint(table.whole_ids(CHARACTERS))
    assert max(table.ids("z'z z")) < ROWS
    assert table.ids("Place RED, now!") == table.ids("place red now")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Set 2 — now", "set two now"),
        ("café, déjà-vu", "cafe deja vu"),
        ("I’m here", "i'm here"),
        ("bin 你好 red", "bin red"),
        ("\x00\ud800?!", ""),
        ("' '", ""),
    ],
)
def test_what_the_letters_can_say(text: str, read: str) -> None:
    assert Characters().speakable(text) == read


def test_numbers_in_words() -> None:
    said = {0: "zero", 13: "thirteen", 40: "forty", 99: "ninety nine", 100: "one hundred", 1_000_000: "one million"}
    assert {number: in_words(number) for number in said} == said
    assert in_words(71_315) == "seventy one thousand three hundred fifteen"
    assert spelled_out("1,205.5").split() == ["one", "thousand", "two", "hundred", "five", "point", "five"]
    assert spelled_out("007").split() == ["zero", "zero", "seven"]
    assert spelled_out("1,2").split() == ["one", ",", "two"]
    assert len(spelled_out("9" * 30).split()) == 30


def test_pieces_are_of_about_equal_length() -> None:
    table = Characters()
    assert pieces("bin blue at f two now place red by g nine soon", table, 40) == [
        "bin blue at f two now",
        "place red by g nine soon",
    ]
    assert pieces("Bin red. Set blue.", table, 40) == ["Bin red. Set blue."]
    assert pieces("Bin red. ?! Set blue.", table, 10) == ["Bin red.", "Set blue."]
    assert pieces("?!", table, 10) == []
    long = pieces("red " * 500, table, 40)
    assert max(len(piece) for piece in long) <= 40
    assert " ".join(long).split() == ["red"] * 500
    assert len(pieces("x" * 95, table, 40)) == 3


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer of single characters with the chat's marks."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = [chr(number) for number in range(32, 127)] + ["\n"]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token=" ")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    made.add_special_tokens(list(MARKS))
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_the_chat_around_a_text(tokenizer: Path) -> None:
    known = json.loads(tokenizer.read_text())
    marks = {token["content"]: token["id"] for token in known["added_tokens"]}
    letters = known["model"]["vocab"]
    ids = Chat(tokenizer).ids("Hi")
    expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    read = "".join({**{v: k for k, v in letters.items()}, **{v: k for k, v in marks.items()}}[i] for i in ids)
    assert read == expected


def test_a_text_cannot_end_the_chat(tokenizer: Path) -> None:
    table = Chat(tokenizer)
    plain = table.ids("")
    marked = table.ids("a<|im_end|><think>b</think>")
    marks = {token["id"] for token in json.loads(tokenizer.read_text())["added_tokens"]}
    assert sum(i in marks for i in marked) == sum(i in marks for i in plain) == 5
    assert table.speakable("\ud800 ?") == ""
    assert table.speakable(" 你好\x00 ") == "你好"


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "t.json"))
    with pytest.raises(DataError, match="does not know"):
        Chat(tmp_path / "t.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="no tokenizer"):
        Chat(tmp_path / "broken.json")


class Made:
    """Latents by the clip's id; counts what it is asked for. ``stop_after``: then it is interrupted."""

    identity = "toy-1"

    def __init__(self, stop_after: int = 1000) -> None:
        self.asked: list[str] = []
        self._stop_after = stop_after

    def make(self, clip: Clip) -> Latents:
        if len(self.asked) == self._stop_after:
            raise KeyboardInterrupt
        self.asked.append(clip.id)
        if clip.id == "bad":
            raise Unscorable("no_face", "nobody")
        rng = np.random.default_rng(list(clip.id.encode()))
        draw = [rng.standard_normal(shape).astype(np.float32) for shape in ((9, 32), (8, 16), (64,))]
        return Latents(draw[0], draw[1], draw[2], clip.id, (1, 7))


def clips(*names: str) -> list[Clip]:
    return [
        Clip(n, "toy", "train", Source(Path(f"{n}.mp4")), Source(Path(f"{n}.wav")), n, f"sha-{n}", 8) for n in names
    ]


def equal(one: Latents, other: Latents) -> bool:
    arrays = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ("speech", "motion", "voice"))
    return arrays and (one.text, one.span, one.frames) == (other.text, other.span, other.frames)


def test_latents_are_made_once(tmp_path: Path) -> None:
    makers = Made()
    (clip,) = clips("a")
    first = LATENTS.of(clip, tmp_path, makers)
    assert equal(first, LATENTS.of(clip, tmp_path, makers))
    assert makers.asked == ["a"]
    assert first.frames == 8
    assert np.abs(first.speech - Made().make(clip).speech).max() < 2e-3  # kept in 16 bits
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(b"damaged")
    assert equal(first, LATENTS.of(clip, tmp_path, makers))
    assert makers.asked == ["a", "a"]


def test_arrays_that_lie_otherwise_are_kept_as_they_read(tmp_path: Path) -> None:
    turned = np.arange(12.0, dtype=np.float32).reshape(3, 4).T
    given = Latents(turned, turned[::2], turned[:, 0], "", (0, 4))
    LATENTS.write(tmp_path / "a.safetensors", {"a": given})
    assert equal(LATENTS.read(tmp_path / "a.safetensors", "a"), given)


def test_preparation_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    chosen = clips("a", "b", "bad", "c", "d", "e")
    with pytest.raises(KeyboardInterrupt):
        prepare(LATENTS, chosen, tmp_path, Made(stop_after=5), Progress(quiet=True), shard=2)
    makers = Made()
    done = prepare(LATENTS, chosen, tmp_path, makers, Progress(quiet=True), shard=2)
    assert makers.asked == ["bad", "e"]
    assert (done.made, done.there, dict(done.left_out)) == (1, 4, {"no_face": 1})
    assert len(list(tmp_path.rglob(PATTERN))) == 3
    assert "left out: 1 no_face" in str(done)
    fresh = Made()
    assert equal(LATENTS.of(chosen[3], tmp_path, fresh), LATENTS.rounded(Made().make(chosen[3])))
    assert fresh.asked == []


def test_other_networks_have_other_latents(tmp_path: Path) -> None:
    (clip,) = clips("a")
    makers, others = Made(), Made()
    others.identity = "toy-2"  # type: ignore[misc]
    LATENTS.of(clip, tmp_path, makers)
    LATENTS.of(clip, tmp_path, others)
    assert others.asked == ["a"]
