"""The page in a real browser, from the first click to the table of results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import study_of
from study_lab import bench, opinion, page_data

from bench.results.study.answers import read_all
from bench.results.study.key import Key
from bench.results.study.make import Made

AXE = Path(__file__).parents[1] / "report" / "vendored" / "axe.min.js"
#: Plays whatever is shown to its end, fast.
PLAY = """async () => {
  for (const player of document.querySelectorAll("video, audio")) {
    player.muted = true;
    player.playbackRate = 8;
    const ended = new Promise((done) => player.addEventListener("ended", done, { once: true }));
    await player.play();
    await ended;
  }
}"""


class Participant:
    """One person at one browser. On leaving: nothing went wrong on the console, and no request left the folder."""

    def __init__(self, browser: Any, made: Made, code: str, **context: Any) -> None:
        self.made, self.key, self.code = made, made.key, code
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **context})
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(20_000)

    def __enter__(self) -> Participant:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.context.close()
        if kind is None:
            assert self.said == []
            assert [url for url in self.asked if not url.startswith((self.made.folder.as_uri(), "blob:"))] == []

    def open(self, code: str | None = None) -> None:
        """Open the page with the code in its address."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.made.folder.as_uri()}/index.html#code={self.code if code is None else code}")

    def begin(self) -> None:
        self.open()
        self.page.click("#start")

    @property
    def heading(self) -> str:
        return str(self.page.inner_text("h2"))

    def answer(self, stimuli: Sequence[str]) -> None:
        """Play, answer as everybody here thinks, go on."""
        self.page.evaluate(PLAY)
        for question, value in wanted(self.key, self.code, stimuli).items():
            self.page.check(f"#question-{question} input[value='{value:g}']")
        self.page.click("#next")

    def answer_all(self, first: int = 0, last: int | None = None) -> None:
        for trial in list(self.key.sheets[self.code])[first:last]:
            self.answer(trial)

    def download(self, folder: Path, button: str = "#download") -> Path:
        with self.page.expect_download() as waiting:
            self.page.click(button)
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path


def wanted(key: Key, person: str, stimuli: Sequence[str]) -> dict[str, float]:
    spoilt = [name in key.checks for name in stimuli]
    labels = [None if bad else key.label(key.stimuli[name].run) for name, bad in zip(stimuli, spoilt, strict=True)]
    if key.kind == "mos":
        return {q: opinion(person, q, labels[0]) if labels[0] else 1.0 for q in key.questions}
    first, second = (opinion(person, "preference", label) if label else 0.0 for label in labels)
    return {"preference": 0.0 if first == second else 1.0 if first > second else 2.0}


def codes(made: Made) -> list[str]:
    return list(made.key.sheets)


@pytest.fixture
def person(browser: Any, opinions: Made) -> Iterator[Participant]:
    with Participant(browser, opinions, codes(opinions)[0]) as participant:
        yield participant


@pytest.mark.parametrize("kind", ["mos", "preference"])
def test_from_page_to_table(
    browser: Any, own_store: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three people fill the study in; their files are read beside a broken one and a copy, up to the table."""
    questions = ("preference",) if kind == "preference" else ("naturalness", "sync")
    made = study_of(own_store, tmp_path / "study", kind=kind, questions=questions, clips=1, participants=3)
    files = []
    for code in codes(made):
        with Participant(browser, made, code) as participant:
            participant.begin()
            participant.answer_all()
            assert participant.heading == "Thank you" and violations(participant) == []
            files.append(participant.download(tmp_path))
    assert [path.name for path in files] == [f"answers-{made.key.study}-{code}.json" for code in codes(made)]
    broken, copy = tmp_path / "broken.json", tmp_path / "copy.json"
    broken.write_text(files[0].read_text()[:200])
    copy.write_text(files[1].read_text())
    everything = [*files, broken, copy]
    code_, out, err = bench(capsys, "study", "read", *everything, "--study", made.key_file, "--out", own_store)
    assert code_ == 0 and "3 participants, 2 files refused" in out
    assert f"{broken}: broken" in err and f"{copy}: duplicate" in err
    code_, out, _ = bench(capsys, "leaderboard", "--out", own_store, "--format", "json")
    found = {(row["system"], row["metric"]): row["value"] for row in json.loads(out)}
    if kind == "preference":
        assert found["ground-truth", "Preference"] == 1.0 and found["talker", "Win-rate"] == 0.0
        assert found["hicodit", "Preference"] == 0.5
    else:
        mean = sum(opinion(code, "sync", "hicodit") for code in codes(made)) / 3
        assert found["hicodit", "MOS-sync"] == pytest.approx(mean)
        assert found["ground-truth", "MOS-naturalness"] == pytest.approx(mean + 0.5)


def test_the_whole_sheet_by_keyboard_alone(browser: Any, opinions: Made, tmp_path: Path) -> None:
    with Participant(browser, opinions, codes(opinions)[1]) as participant:
        page = participant.page
        participant.open()
        page.focus("#code")
        page.keyboard.press("Enter")
        for number, stimuli in enumerate(opinions.key.sheets[participant.code], 1):
            assert participant.heading == f"{number} of 14"
            page.keyboard.press("4")  # nothing is heard yet: no answer
            assert page.locator("input:checked[type=radio]").count() == 0
            page.keyboard.press(" ")
            page.locator("#hint:text-is('Please answer.')").wait_for()
            low = stimuli[0] in opinions.key.checks
            page.keyboard.press("1" if low else "4")
            page.keyboard.press("1" if low else "3")
            if not low:
                page.keyboard.press("ArrowRight")  # half a step
            page.keyboard.press("Enter")
        assert participant.heading == "Thank you"
        accepted, refused = read_all([participant.download(tmp_path)], opinions.key)
    assert not refused
    rated = [t.ratings for t in accepted[0].trials if t.stimuli[0] in opinions.key.stimuli]
    assert rated == [{"naturalness": 4.0, "sync": 3.5}] * 12


def test_shortcuts_can_be_switched_off(person: Participant) -> None:
    person.begin()
    person.page.evaluate(PLAY)
    person.page.uncheck("#keys")
    person.page.locator("h2").focus()
    person.page.keyboard.press("3")
    assert person.page.locator("input:checked[type=radio]").count() == 0
    person.page.check("#keys")
    person.page.locator("h2").focus()
    person.page.keyboard.press("3")
    assert person.page.locator("#question-naturalness input:checked").input_value() == "3"
    person.page.keyboard.press("3")  # the next open question
    assert person.page.locator("#question-sync input:checked").input_value() == "3"


def test_nothing_can_be_answered_before_it_was_heard(person: Participant) -> None:
    person.begin()
    assert person.page.locator("fieldset:disabled").count() == 2 and person.page.is_disabled("#next")
    person.page.evaluate(PLAY)
    assert person.page.locator("fieldset:disabled").count() == 0 and person.page.is_disabled("#next")
    person.page.check("#question-sync input[value='3']")
    assert person.page.is_disabled("#next")
    person.page.check("#question-naturalness input[value='2.5']")
    assert person.page.is_enabled("#next")


def test_a_wrong_code_is_told_and_a_small_one_is_read(person: Participant) -> None:
    person.open("NOPE")
    person.page.click("#start")
    assert "NOPE is not one of this study" in person.page.inner_text("#problem")
    person.page.fill("#code", "")
    person.page.click("#start")
    assert "type the code" in person.page.inner_text("#problem")
    person.page.fill("#code", "constructor")  # a name that every object has
    person.page.click("#start")
    assert "is not one of this study" in person.page.inner_text("#problem")
    person.page.fill("#code", f" {person.code.lower()} ")
    person.page.click("#start")
    assert person.heading == "1 of 14"


def test_answers_outlast_a_closed_page(person: Participant, tmp_path: Path) -> None:
    person.begin()
    person.answer_all(0, 3)
    person.begin()
    assert person.heading == "4 of 14"
    assert "where you stopped" in person.page.inner_text("#status")
    person.answer_all(3)
    accepted, refused = read_all([person.download(tmp_path)], person.key)
    assert not refused and len(accepted[0].trials) == 14


def test_what_the_browser_kept_and_cannot_be_gone_on_with_is_left(person: Participant) -> None:
    person.begin()
    person.answer_all(0, 1)
    for damaged in ("{", '{"schema": 1}', "null"):
        person.page.evaluate(
            "(text) => { for (const name of Object.keys(localStorage)) localStorage[name] = text; }", damaged
        )
        person.begin()
        assert person.heading == "1 of 14"


def test_without_storage_a_file_takes_over(browser: Any, opinions: Made, tmp_path: Path) -> None:
    with Participant(browser, opinions, codes(opinions)[2]) as participant:
        participant.context.add_init_script(
            "Object.defineProperty(window, 'localStorage', {"
            "  get() { throw new DOMException('no', 'SecurityError'); } });"
        )
        participant.begin()
        assert "keeps nothing" in participant.page.inner_text(".saving")
        participant.answer_all(0, 2)
        half = participant.download(tmp_path, "#save")
        assert read_all([half], opinions.key)[1][0].reason == "incomplete"
        participant.open()
        participant.page.click("summary")
        wrong = tmp_path / "wrong.json"
        wrong.write_text('{"participant": 3}')
        participant.page.set_input_files("#resume", wrong)
        participant.page.locator("#problem:has-text('no answers of this')").wait_for()
        participant.page.click("summary")
        participant.page.set_input_files("#resume", half)
        participant.page.locator("h2:text-is('3 of 14')").wait_for()
        participant.answer_all(2)
        whole = participant.download(tmp_path)
        assert read_all([whole], opinions.key)[1] == []


def test_answers_can_be_copied_as_text(browser: Any, opinions: Made, tmp_path: Path) -> None:
    with Participant(browser, opinions, codes(opinions)[3]) as participant:
        participant.begin()
        participant.answer_all()
        participant.page.click("#copy")
        participant.page.locator("#status:has-text('.')").wait_for()
        text = participant.page.input_value("#text")
    (tmp_path / "pasted.json").write_text(text)
    assert read_all([tmp_path / "pasted.json"], opinions.key)[1] == []


def test_a_clip_that_does_not_play_is_passed_over(browser: Any, own_store: Path, tmp_path: Path) -> None:
    made = study_of(own_store, tmp_path / "study", clips=2, participants=1)
    code = codes(made)[0]
    first = made.key.sheets[code][0][0]
    (made.folder / "media" / f"{first}.mp4").write_bytes(b"no film")
    with Participant(browser, made, code) as participant:
        participant.begin()
        participant.page.wait_for_selector("#skip:visible")
        assert participant.page.is_disabled("#next")
        participant.page.click("#skip")
        participant.answer_all(1)
        accepted, refused = read_all([participant.download(tmp_path)], made.key)
        participant.said = [line for line in participant.said if "ERR_" not in line]
    assert not refused and accepted[0].trials[0].ratings == {}


def test_hostile_texts_are_inert_and_the_policy_holds(person: Participant, opinions: Made) -> None:
    person.open()
    assert (
        person.page.inner_text("h1")
        == page_data(opinions.folder)["title"]
        == "Voices <script>alert(1)</script> & faces"
    )
    assert person.page.locator("h1 *").count() == 0
    person.page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.hacked = 1";
        document.body.append(script); const image = document.createElement("img"); image.src = "https://example.org/x.png";
        document.body.append(image); }"""
    )
    person.page.wait_for_timeout(200)
    assert person.page.evaluate("window.hacked") is None
    assert any("inline" in line for line in person.said) and any("example.org" in line for line in person.said)
    assert all("Content Security Policy" in line for line in person.said)
    person.said.clear()
    person.asked = [url for url in person.asked if "example.org" not in url]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1000, "dark")])
def test_the_page_is_accessible_and_fits(browser: Any, opinions: Made, pairs: Made, scheme: str, width: int) -> None:
    for made in (opinions, pairs):
        size = {"width": width, "height": 800}
        with Participant(browser, made, codes(made)[4], viewport=size, color_scheme=scheme) as participant:
            participant.open()
            found = violations(participant)
            participant.page.click("#start")
            participant.page.evaluate(PLAY)
            participant.page.locator("input[type=radio]").first.check()
            assert found + violations(participant) == []


def violations(participant: Participant) -> list[str]:
    """What axe-core finds, and whether the page is wider than the screen."""
    page = participant.page
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false}).then((r) => r.violations)")
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return [f"{v['id']}: {node['html'][:150]}" for v in found for node in v["nodes"]] + (["too wide"] if wide else [])


def test_the_focus_follows_and_one_player_plays_at_a_time(browser: Any, pairs: Made) -> None:
    with Participant(browser, pairs, codes(pairs)[0]) as participant:
        participant.begin()
        assert participant.page.evaluate("document.activeElement.tagName") == "H2"
        playing = participant.page.evaluate(
            """async () => { const [first, second] = document.querySelectorAll("video");
            first.loop = second.loop = true; first.muted = second.muted = true; await first.play(); await second.play();
            await new Promise((done) => setTimeout(done, 50)); return [first.paused, second.paused]; }"""
        )
        assert playing == [True, False]


def test_without_javascript_the_page_says_so(browser: Any, opinions: Made) -> None:
    with Participant(browser, opinions, codes(opinions)[0], java_script_enabled=False) as participant:
        participant.open()
        assert "needs JavaScript" in participant.page.inner_text("main")
