"""Which tier of a system runs: asked for, fallen back to on demo alone, and told wherever a system is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench import cli, registry, weights
from bench.api import Audio, Output, Request, System, Task
from bench.commands import catalogue, doctor
from bench.contracts import Control
from bench.embedded import embedded_file
from bench.errors import UsageError
from bench.records import WeightFile
from bench.specs import parse_systems, tts_spec
from bench.store import Store
from bench.tiers import FALLS_BACK_ON, Chosen, choose, refuse_missing

OFFICIAL = WeightFile("official.bin", None, None, "CC0", "nowhere")
SPEECH, FACE = (embedded_file("twofold", name, name) for name in ("speech", "face"))


class Twofold(System):
    """Speaks with one file and shows a face with a second; shipped in both tiers."""

    name = "twofold"
    version = "1"
    tasks: tuple[Task, ...] = ("a2v", "tts")
    tier = "canonical"
    tiers = ("canonical", "embedded")
    stand_ins: ClassVar = {"the official part": "a small part"}
    weights: Sequence[WeightFile] = (OFFICIAL, SPEECH, FACE)
    #: Tasks that lack something, by tier.
    lacking: ClassVar[dict[str, tuple[str, ...]]] = {"canonical": ("a2v", "tts"), "embedded": ()}

    def weights_for(self, task: Task) -> Sequence[WeightFile]:
        return {"tts": (SPEECH,), "a2v": (FACE,)}[task] if self.tier == "embedded" else (OFFICIAL,)

    def missing_for(self, task: Task) -> list[str]:
        return [f"the {self.tier} file of {task}"] if task in self.lacking[self.tier] else []

    def note_for(self, task: Task) -> str:
        return "a small part for the official one" if self.tier == "embedded" else ""

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        level = 0.1 if self.tier == "embedded" else 0.2
        return [Output(audio=Audio(np.full(16000, level, np.float32), 16_000)) for _ in requests]


class Single(System):
    """Has official files alone."""

    name = "single"
    version = "1"
    tasks: tuple[Task, ...] = ("tts",)
    tier = "canonical"

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [Output(audio=Audio(np.full(16000, 0.1, np.float32), 16_000)) for _ in requests]


class Bound(Control):
    """Looks at the truth."""

    name = "bound"
    version = "1"
    tasks: tuple[Task, ...] = ("tts",)

    def generate_from_truth(self, requests: Any, truths: Any) -> list[Output]:
        return [Output(audio=Audio(np.full(16000, 0.3, np.float32), 16_000)) for _ in requests]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for cls in (Twofold, Single, Bound):
        monkeypatch.setitem(registry._trial["systems"], cls.name, cls)
    yield


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(canonical: tuple[str, ...] = (), embedded: tuple[str, ...] = ()) -> None:
        monkeypatch.setattr(Twofold, "lacking", {"canonical": canonical, "embedded": embedded})

    return change


def chosen(dataset: str, *tasks: Task, **settings: Any) -> Chosen:
    """What is chosen for ``tasks`` by name, or for all where none is named."""
    spec = parse_systems(["twofold"], settings)[0]
    return choose(spec, dataset, lambda task: task in (tasks or ("a2v", "tts")), named=bool(tasks))


def run_at(found: Chosen) -> list[tuple[str, tuple[str, ...]]]:
    return [(variant.system.tier, variant.tasks) for variant in found.variants]


# --------------------------------------------------------------------------- the setting


@pytest.mark.parametrize("key", ["tier", "twofold.tier"])
@pytest.mark.parametrize("tier", ["embedded", "canonical"])
def test_the_setting_chooses_and_is_part_of_the_settings(key: str, tier: str) -> None:
    spec = parse_systems(["twofold"], {key: tier})[0]
    assert spec.settings == {"tier": tier}
    assert spec.build().tier == tier
    assert parse_systems(["twofold"], {})[0].settings == {}


def test_a_system_by_name_beats_all_systems() -> None:
    assert (
        parse_systems(["twofold"], {"tier": "canonical", "twofold.tier": "embedded"})[0].settings["tier"] == "embedded"
    )


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        (["twofold"], {"tier": "embeded"}, "did you mean 'embedded'"),
        (["twofold"], {"twofold.tier": "canonicle"}, "did you mean 'canonical'"),
        (["twofold"], {"tier": "gateway"}, "lacks that tier"),
        (["twofold"], {"tier": 3}, "no such tier"),
        (["twofold", "single"], {"tier": "embedded"}, "'single' lacks that tier"),
        (["single"], {"single.tier": "embedded"}, "'single' lacks that tier"),
        (["bound"], {"bound.tier": "embedded"}, "'bound' lacks that tier"),
        (["bound"], {"tier": "embedded"}, "no named system has it"),
        (["bound"], {"tier": "embeded"}, "did you mean 'embedded'"),
        (["twofold"], {"other.tier": "embedded"}, "other.tier: no named system has it"),
    ],
)
def test_tiers_that_are_not_there(names: list[str], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_systems(names, settings)
    assert said in str(caught.value)


def test_baselines_are_not_concerned_and_a_systems_own_tier_may_be_named() -> None:
    specs = parse_systems(["twofold", "bound"], {"tier": "embedded"})
    assert [spec.settings for spec in specs] == [{"tier": "embedded"}, {}]
    assert parse_systems(["single"], {"tier": "canonical"})[0].settings == {}
    assert parse_systems(["bound"], {"bound.tier": "control"})[0].settings == {}


def test_the_speaker_of_driving_audio_has_its_tier_too() -> None:
    settings = {"tts_system": "twofold", "tier": "embedded"}
    assert parse_systems(["bound"], settings)  # the speaker has it
    assert tts_spec(settings).settings == {"tier": "embedded"}
    settings = {"tts_system": "twofold", "twofold.tier": "canonical"}
    assert parse_systems(["bound"], settings)
    assert tts_spec(settings).settings == {"tier": "canonical"}
    assert tts_spec({}).plugin == "espeak"


# --------------------------------------------------------------------------- the choice


def test_official_files_come_first(lacking: Callable[..., None]) -> None:
    lacking()
    found = chosen(FALLS_BACK_ON)
    assert run_at(found) == [("canonical", ("a2v", "tts"))]
    assert not found.notices and not found.missing
    assert found.variants[0].spec.settings == {"tier": "canonical"}


def test_on_demo_the_shipped_checkpoint_stands_in_and_says_so(lacking: Callable[..., None]) -> None:
    lacking(canonical=("a2v", "tts"))
    found = chosen(FALLS_BACK_ON)
    assert run_at(found) == [("embedded", ("a2v", "tts"))]
    assert found.variants[0].spec.settings == {"tier": "embedded"}
    assert len(found.notices) == 1
    assert "a2v, tts in tier embedded" in found.notices[0]


def test_each_task_is_at_the_best_tier_that_it_has(lacking: Callable[..., None]) -> None:
    lacking(canonical=("a2v",))
    assert run_at(chosen(FALLS_BACK_ON)) == [("canonical", ("tts",)), ("embedded", ("a2v",))]
    assert run_at(chosen(FALLS_BACK_ON, "tts")) == [("canonical", ("tts",))]


def test_on_other_data_nothing_stands_in(lacking: Callable[..., None]) -> None:
    lacking(canonical=("a2v", "tts"))
    found = chosen("folder")
    assert not found.variants
    assert found.missing == ["twofold: a2v: the canonical file of a2v", "twofold: tts: the canonical file of tts"]
    with pytest.raises(UsageError) as caught:
        refuse_missing([found])
    message = str(caught.value)
    assert "the canonical file of tts" in message
    assert "--set tier=embedded" in message
    assert str(weights.folder()) in message
    assert caught.value.exit_code == 2


def test_a_tier_that_could_not_run_either_is_not_advised(lacking: Callable[..., None]) -> None:
    lacking(canonical=("tts",), embedded=("tts",))
    found = chosen("folder", "tts")
    assert found.other is None
    with pytest.raises(UsageError) as caught:
        refuse_missing([found])
    assert "tier=" not in str(caught.value)
    assert chosen(FALLS_BACK_ON, "tts").missing == ["twofold: the canonical file of tts"]


@pytest.mark.parametrize("dataset", [FALLS_BACK_ON, "folder"])
def test_what_is_asked_for_runs_or_is_refused(lacking: Callable[..., None], dataset: str) -> None:
    lacking(canonical=("a2v", "tts"))
    assert run_at(chosen(dataset, tier="embedded")) == [("embedded", ("a2v", "tts"))]
    assert not chosen(dataset, tier="embedded").notices
    assert chosen(dataset, tier="canonical").missing
    lacking(embedded=("tts",))
    assert chosen(dataset, "tts", tier="embedded").missing == ["twofold: the embedded file of tts"]


def test_a_task_that_nobody_named_is_left_out_with_a_line(lacking: Callable[..., None]) -> None:
    lacking(canonical=("a2v",))
    found = chosen("folder")
    assert run_at(found) == [("canonical", ("tts",))]
    assert found.notices == ["twofold: a2v is left out: the canonical file of a2v"]
    assert chosen("folder", "a2v").missing == ["twofold: the canonical file of a2v"]
    assert chosen("folder", "a2v", "tts").missing == ["twofold: a2v: the canonical file of a2v"]


def test_settings_that_only_one_tier_takes(lacking: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    lacking()

    class Picky(Twofold):
        name = "twofold"

        def __init__(self, settings: Any = None) -> None:
            super().__init__(settings)
            if self.tier == "canonical":
                raise UsageError("part=small: only tier embedded has it")

    monkeypatch.setitem(registry._trial["systems"], "twofold", Picky)
    found = chosen(FALLS_BACK_ON, "tts")
    assert run_at(found) == [("embedded", ("tts",))]
    assert "only tier embedded has it" in found.notices[0]
    for dataset, settings in (("folder", {}), (FALLS_BACK_ON, {"tier": "canonical"})):
        with pytest.raises(UsageError, match="only tier embedded has it"):
            chosen(dataset, "tts", **settings)


def test_settings_that_the_small_checkpoint_refuses_do_not_stop_the_official_one(
    lacking: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking()

    class Picky(Twofold):
        name = "twofold"

        def __init__(self, settings: Any = None) -> None:
            super().__init__(settings)
            if self.tier == "embedded":
                raise UsageError("rate=48000: only tier canonical has it")

    monkeypatch.setitem(registry._trial["systems"], "twofold", Picky)
    assert run_at(chosen(FALLS_BACK_ON, "tts")) == [("canonical", ("tts",))]
    lacking(canonical=("tts",))
    assert chosen(FALLS_BACK_ON, "tts").missing


# --------------------------------------------------------------------------- commands


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with both small files, and a weights folder with the official one."""
    root = tmp_path / "package"
    for file in (SPEECH, FACE):
        (root / file.name).parent.mkdir(parents=True, exist_ok=True)
        (root / file.name).write_bytes(file.name.encode())
    monkeypatch.setattr(weights, "own_folder", lambda: root)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / OFFICIAL.name).write_bytes(b"official")
    return root


def run(talks: Path, store: Path, *more: str, system: str = "twofold") -> int:
    return cli.invoke(
        ["run", "--system", system, "--dataset", "folder", "--data-root", str(talks), "--limit", "2", "--workers", "0",
         "--metrics", "duration", "--out", str(store), *more]
    )  # fmt: skip


def test_both_tiers_in_one_table_are_told_apart(
    talks: Path, shipped: Path, tmp_path: Path, lacking: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lacking()
    store = tmp_path / "store"
    for tier in ("canonical", "embedded"):
        assert run(talks, store, "--task", "tts", "--set", f"tier={tier}") == 0
    with Store.open(store, write=False) as opened:
        runs = {found.tier: found for found in opened.runs()}
    assert set(runs) == {"canonical", "embedded"}
    assert runs["canonical"].id != runs["embedded"].id
    assert runs["embedded"].settings == {"tier": "embedded"}
    assert set(runs["embedded"].weights) == {SPEECH.name}  # of this task alone
    assert set(runs["canonical"].weights) == {OFFICIAL.name}
    capsys.readouterr()
    assert cli.invoke(["leaderboard", "--out", str(store), "--format", "md"]) == 0
    table = capsys.readouterr().out.replace("\\", "")
    assert "twofold [tier canonical]" in table
    assert "twofold [tier embedded]" in table
    assert table.count("| embedded |") == table.count("| canonical |") == 1
    assert "a small part for the official one" in table


def test_a_run_depends_on_the_files_of_its_task_alone(
    talks: Path, shipped: Path, tmp_path: Path, lacking: Callable[..., None]
) -> None:
    lacking()

    def runs_of(store: str) -> str:
        assert run(talks, tmp_path / store, "--task", "tts", "--set", "tier=embedded") == 0
        with Store.open(tmp_path / store, write=False) as opened:
            return opened.runs()[0].id

    first = runs_of("one")
    (shipped / FACE.name).write_bytes(b"another face, of another size")
    assert runs_of("two") == first
    (shipped / SPEECH.name).write_bytes(b"other speech, of another size")
    assert runs_of("three") != first


def test_other_data_without_files_end_with_code_2(
    talks: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ([], ["--dry-run"]):
        assert run(talks, tmp_path / "store", "--task", "tts", *verb) == 2
        said = capsys.readouterr().err
        assert "the canonical file of tts" in said
        assert "--set tier=embedded" in said
    assert run(talks, tmp_path / "store", "--task", "tts", "--set", "tier=embeded") == 2
    assert "did you mean 'embedded'" in capsys.readouterr().err


def test_a_dry_run_names_the_files_of_the_tier(
    talks: Path, shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(talks, tmp_path / "store", "--task", "tts", "--set", "tier=embedded", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert SPEECH.name in shown
    assert FACE.name not in shown
    assert OFFICIAL.name not in shown


def test_score_finds_what_generate_made_at_a_tier(talks: Path, shipped: Path, tmp_path: Path) -> None:
    common = ["--system", "twofold", "--dataset", "folder", "--data-root", str(talks), "--limit", "2", "--workers", "0",
              "--task", "tts", "--out", str(tmp_path / "store"), "--set", "tier=embedded"]  # fmt: skip
    assert cli.invoke(["generate", *common]) == 0
    assert cli.invoke(["score", *common, "--metrics", "duration"]) == 0


def test_driving_audio_says_its_tier(talks: Path, shipped: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    more = ["--task", "a2v", "--audio", "tts", "--set", "tts_system=twofold", "--set", "tier=embedded"]
    assert run(talks, store, *more, system="still-face") in {0, 1}  # no face is found in these pictures
    with Store.open(store, write=False) as opened:
        spoken = {found.system: found for found in opened.runs()}
    assert spoken["twofold"].tier == "embedded"
    assert spoken["still-face"].audio == "tts:twofold@embedded"


def test_listings_show_both_tiers(
    shipped: Path, lacking: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(row for row in catalogue.listing("systems") if row["name"] == "twofold")
    assert row["tier"] == "canonical, embedded"
    lacking(canonical=("a2v",))
    rows = {row["tier"]: row["state"] for row in doctor.examine()["systems"] if row["name"] == "twofold"}
    assert rows == {"canonical": "ready for tts; else the canonical file of a2v", "embedded": "ready"}
    (shipped / FACE.name).unlink()
    (shipped / SPEECH.name).unlink()
    told = catalogue.render_info(catalogue.info("twofold"))
    assert "the official part: a small part" in told
    assert "--set twofold.tier=embedded" in told
    assert cli.invoke(["weights", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "embedded" in lines[SPEECH.name]
    assert "canonical" in lines[OFFICIAL.name]
