"""Cross pairs, lists of pairs, references."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api import Clip, UsageError
from bench.golden_adapters import derangement as golden_derangement
from bench.pairs import derange, derangement, other_references, read_pairs, read_references

IDS = [f"test/vid0000000{group}/0000{number}" for group in (1, 2) for number in (1, 2, 3)]
TABLE = {
    "test/vid00000001/00001": "test/vid00000002/00001",
    "test/vid00000001/00002": "test/vid00000002/00002",
    "test/vid00000001/00003": "test/vid00000002/00003",
    "test/vid00000002/00001": "test/vid00000001/00001",
    "test/vid00000002/00002": "test/vid00000001/00002",
    "test/vid00000002/00003": "test/vid00000001/00003",
}
LIST_SHA256 = "96ad705abdd81b1383dcaab78cd88588e07e36785c4eed8b258c58e560da03b7"


def clip(clip_id: str, group: str | None = None, speaker: str | None = None, frames: int = 50) -> Clip:
    return Clip(clip_id, "d", "test", None, None, None, "", frames, speaker=speaker, group=group)


def naive(ids: list[str], groups: list[object], seed: int) -> tuple[list[int], int, int]:
    """The rule of the specification, word by word."""
    n = len(ids)
    order = sorted(range(n), key=lambda i: (hashlib.sha256(f"{seed}:{ids[i]}".encode()).hexdigest(), ids[i]))

    def same(k: int) -> int:
        pairs = [(groups[order[i]], groups[order[(i + k) % n]]) for i in range(n)]
        return sum(a is not None and a == b for a, b in pairs)

    k = min(range(1, n), key=lambda shift: (same(shift), shift))
    audio = [0] * n
    for i in range(n):
        audio[order[i]] = order[(i + k) % n]
    return audio, k, same(k)


def test_check_value_of_the_specification() -> None:
    found = derangement([clip(clip_id, clip_id.split("/")[1]) for clip_id in reversed(IDS)])
    assert dict(found.pairs) == TABLE
    assert found.sha256 == LIST_SHA256
    assert (found.shift, found.same_speaker) == (3, 0)
    assert hashlib.sha256(b"0:test/vid00000001/00001").hexdigest().startswith("a8dc10a7")


def test_golden_case() -> None:
    path = Path(__file__).parents[2] / ".." / "shared" / "golden" / "tfg" / "derangement.safetensors"
    if not path.is_file():
        pytest.skip(f"no golden cases at {path}")
    from safetensors import safe_open

    with safe_open(str(path), "np") as file:
        config = json.loads(file.metadata()["config"])
        given_ = {key: config[key] for key in ("ids", "seed")}
        made = golden_derangement(given_, {}, None)  # type: ignore[arg-type]
        for name in ("audio_index_plain", "audio_index_grouped"):
            assert made[name] == file.get_tensor(f"out.{name}").tolist()
    grouped = derange(config["ids"], [i.split("/")[0] for i in config["ids"]], config["seed"])
    assert (grouped.k, grouped.same_group) == (config["shift_grouped"], config["same_group_pairs"])


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=2, max_size=24), st.integers(0, 9))
def test_equals_the_rule_written_out(groups: list[object], seed: int) -> None:
    ids = [f"clip {i}" for i in range(len(groups))]
    audio, k, same = naive(ids, groups, seed)
    found = derange(ids, groups, seed)  # type: ignore[arg-type]
    assert (list(found.audio), found.k, found.same_group) == (audio, k, same)
    assert all(i != j for i, j in enumerate(found.audio))
    assert sorted(found.audio) == list(range(len(ids)))


def test_large_groups_are_counted_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{i}" for i in range(120)]
    groups = [i % 3 if i % 7 else None for i in range(120)]
    direct = derange(ids, groups)
    monkeypatch.setattr("bench.pairs._DIRECT", 0)
    assert derange(ids, groups) == direct


def test_order_of_clips_does_not_matter() -> None:
    clips = [clip(clip_id, clip_id.split("/")[1]) for clip_id in IDS]
    assert derangement(clips) == derangement(clips[::-1])


def test_one_speaker_only_is_reported() -> None:
    found = derangement([clip(f"{i}", speaker="s") for i in range(4)])
    assert (found.shift, found.same_speaker) == (1, 4)


def test_speaker_comes_before_group() -> None:
    found = derangement([clip(f"{i}", group="g", speaker=f"s{i}") for i in range(4)])
    assert found.same_speaker == 0


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "a"]])
def test_too_few_or_equal_ids_are_refused(ids: list[str]) -> None:
    with pytest.raises(UsageError):
        derange(ids)


def test_hundred_thousand_clips_are_paired_quickly() -> None:
    ids = [f"{i}" for i in range(100_000)]
    found = derange(ids, [i % 5000 for i in range(100_000)])
    assert len(set(found.audio)) == 100_000


def test_user_list_is_read_in_any_order(tmp_path: Path) -> None:
    lines = [f"{video}\t{audio}" for video, audio in TABLE.items()]
    file = tmp_path / "pairs.txt"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines[::-1], "", ""]).encode())
    assert read_pairs(file, IDS).sha256 == LIST_SHA256
    file.write_text(lines[0] + "\n")
    assert read_pairs(str(file), IDS).pairs == ((IDS[0], IDS[3]),)


def test_all_errors_of_a_user_list_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(f"{IDS[0]}\t{IDS[3]}\n{IDS[0]}\t{IDS[4]}\ntest/vid00000001/0001\t{IDS[4]}\n{IDS[1]} {IDS[2]}\n")
    with pytest.raises(UsageError) as caught:
        read_pairs(file, IDS)
    message = caught.value.message
    assert "3 errors" in message
    assert "line 2" in message and "listed twice" in message
    assert "line 3" in message and "did you mean 'test/vid00000001/00001'" in message
    assert "line 4" in message and "tab" in message
    assert "audio first" in caught.value.hint


def test_many_errors_are_cut_to_ten(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("".join(f"no{i}\t{IDS[0]}\n" for i in range(25)))
    with pytest.raises(UsageError, match="and 15 more"):
        read_pairs(file, IDS)


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xff\xfe\x00"])
def test_empty_and_binary_lists_are_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "pairs.txt"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="--pairing"):
        read_pairs(file, IDS)
    with pytest.raises(UsageError, match="--pairing"):
        read_pairs(tmp_path / "absent", IDS)
    with pytest.raises(UsageError, match="--pairing"):
        read_pairs(tmp_path, IDS)


def test_other_reference_is_the_longest_other_clip_first_by_id_on_ties() -> None:
    clips = [clip("a1", "a", frames=30), clip("a2", "a", frames=60), clip("a3", "a", frames=60), clip("b1", "b")]
    clips += [clip("c1", "c", frames=9), clip("c2", "c", frames=0), clip("n1"), clip("n2")]
    found = {key: other.id if other else None for key, other in other_references(clips).items()}
    assert found == {
        "a1": "a2", "a2": "a3", "a3": "a2", "b1": None, "c1": None, "c2": "c1", "n1": None, "n2": None,
    }  # fmt: skip


def test_external_references_are_relative_to_their_list(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "v.wav").write_bytes(b"x")
    file = tmp_path / "voices" / "map.txt"
    file.write_text(f"{IDS[0]}\tv.wav\n")
    assert read_references(file, IDS)[IDS[0]].path == tmp_path / "voices" / "v.wav"
    file.write_text(f"{IDS[0]}\tgone.wav\nwhat\tv.wav\n{IDS[0]}\tv.wav\nno tab\n{IDS[1]}\ta\0b\n")
    with pytest.raises(UsageError) as caught:
        read_references(file, IDS)
    for part in (
        "5 errors",
        "line 1: no such file",
        "line 2: unknown clip",
        "line 3",
        "line 4",
        "line 5: no such file",
    ):
        assert part in caught.value.message
