"""Ten players at once: they start, stay together, are heard one at a time, and are given back."""

from __future__ import annotations

from typing import Any

from browser_kit import Clips, Visit, until

SPREAD = """() => {
  const times = [...document.querySelectorAll('.card video')].filter((v) => !v.paused).map((v) => v.currentTime);
  return [times.length, Math.max(...times) - Math.min(...times)];
}"""
HEARD = """() => [...document.querySelectorAll('.card')]
  .filter((card) => [...card.querySelectorAll('video, audio')].some((v) => !v.muted)).map((card) => card.dataset.k)"""


def opened(watch: Visit, **state: object) -> Any:
    clips = Clips(watch.folder)
    return watch.open("clip.html", s=clips.section["id"], id=clips.ids[0], **state)


def playing(page: Any, count: int = 10) -> None:
    page.get_by_role("button", name="Play all").click()
    until(
        page,
        "n => [...document.querySelectorAll('.card video')].filter(v => v.currentTime > 0.3).length >= n",
        arg=count,
    )


def test_ten_players_start_and_stay_together(watch: Visit) -> None:
    page = opened(watch)
    assert page.locator(".card").count() == 11
    playing(page)
    page.wait_for_timeout(2500)
    count, spread = page.evaluate(SPREAD)
    assert count == 10
    assert spread < 0.15  # 0.1 s is the goal; other tests may hold the processors
    page.get_by_role("button", name="Pause all").click()
    assert page.locator(".card video").evaluate_all("all => all.every(v => v.paused)")


def test_one_is_heard_at_a_time_and_keys_choose_it(watch: Visit) -> None:
    page = opened(watch)
    playing(page)
    assert len(page.evaluate(HEARD)) == 1
    page.keyboard.press("3")
    third = page.evaluate(HEARD)
    page.keyboard.press("m")
    assert page.evaluate(HEARD) == []
    page.keyboard.press("m")
    assert page.evaluate(HEARD) == third
    page.locator('.card[data-k="5"] .solo').click()
    assert page.evaluate(HEARD) == ["5"]
    assert page.locator('.card[data-k="5"] .solo').get_attribute("aria-pressed") == "true"
    page.keyboard.press(" ")  # on a button the space bar means the button
    assert page.get_by_role("button", name="Pause all").is_visible()


def test_frames_loop_and_speed(watch: Visit) -> None:
    page = opened(watch)
    position = page.get_by_role("slider", name="Position")
    page.keyboard.press(".")
    page.keyboard.press(".")
    assert abs(float(position.input_value()) - 0.08) < 0.011
    page.keyboard.press(",")
    assert abs(float(position.input_value()) - 0.04) < 0.011
    position.evaluate("node => { node.value = 1; node.dispatchEvent(new Event('input')); }")
    page.get_by_role("button", name="Loop from here").click()
    position.evaluate("node => { node.value = 1.6; node.dispatchEvent(new Event('input')); }")
    page.get_by_role("button", name="Loop up to here").click()
    assert "loop 1.00 s – 1.60 s" in page.locator(".loop").inner_text()
    page.get_by_label("Speed").select_option("2")
    position.evaluate("node => { node.value = 1; node.dispatchEvent(new Event('input')); }")
    page.get_by_role("button", name="Play all").click()
    page.wait_for_timeout(2500)  # 5 s of media at this speed, were it not for the loop
    assert 0.9 <= float(position.input_value()) <= 1.9
    assert page.locator(".card video").first.evaluate("v => v.playbackRate") >= 1.8
    page.get_by_role("button", name="No loop").click()
    until(page, "document.querySelector('.transport .play').textContent.includes('Play')")


def test_media_load_late_and_are_given_back(watch: Visit) -> None:
    page = opened(watch)
    assert page.locator("video").evaluate_all("all => all.every(v => v.preload === 'none' && v.readyState === 0)")
    playing(page)
    old = page.evaluate_handle("[...document.querySelectorAll('.card video')]")
    page.keyboard.press("j")
    until(page, "document.getElementById('status').textContent.includes('00001')")
    assert old.evaluate("all => all.every(v => !v.hasAttribute('src') && v.paused && !v.isConnected)")
    assert page.locator("video").count() <= 11


def test_what_was_heard_is_offered_as_captions(watch: Visit) -> None:
    page = opened(watch)
    playing(page)
    cues = page.locator('.card[data-k="2"] video').evaluate(
        "v => [...v.textTracks].map(t => { t.mode = 'hidden'; return t.cues[0].text; })"
    )
    assert len(cues) == 1
    assert len(cues[0].split()) > 5


def test_players_have_pictures_of_their_sound(watch: Visit) -> None:
    page = opened(watch)
    pictures = page.locator('.card[data-k="2"] img')
    assert pictures.count() == 2
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        assert picture.get_attribute("alt")
        until(page, "img => img.complete && img.naturalWidth > 0", arg=picture.element_handle())
