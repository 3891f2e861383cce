"""Everything about single clips: the files ``detail-…``, each of a hundred clips of a section with all of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.results.report.collect import CLIPS_PER_DETAIL, View
from bench.results.report.data_script import number, without_empty
from bench.results.report.media_files import Media
from bench.results.report.said import Failed, RowTexts
from bench.store_records import OutputRecord

Outputs = Mapping[str, OutputRecord]


def detail_files(
    view: View, texts: Sequence[RowTexts], outputs: Sequence[Outputs], media: Media, advance: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each file; ``texts`` and ``outputs`` by row. ``advance`` is called once for each clip."""
    failures = [_by_clip(found.failures) for found in texts]
    for shard, start in enumerate(range(0, len(view.clips), CLIPS_PER_DETAIL)):
        places = range(start, min(start + CLIPS_PER_DETAIL, len(view.clips)))
        clips = []
        for place in places:
            clip_id = view.clips[place].clip_id
            systems = [
                _system(view, row, place, texts[row], outputs[row].get(clip_id), failures[row].get(place, []), media)
                if clip_id in view.requested[row]
                else None
                for row in range(len(view.rows))
            ]
            clips.append(without_empty({"reference": media.reference(clip_id)}) | {"systems": systems})
            advance()
        yield f"detail-{view.id}-{shard}", {"section": view.id, "from": start, "clips": clips}


def _by_clip(failures: Sequence[Failed]) -> dict[int, list[Failed]]:
    found: dict[int, list[Failed]] = {}
    for failed in failures:
        found.setdefault(failed.place, []).append(failed)
    return found


def _system(
    view: View,
    row: int,
    place: int,
    texts: RowTexts,
    output: OutputRecord | None,
    failures: Sequence[Failed],
    media: Media,
) -> dict[str, Any]:
    """One row's part of one clip; keys without content are left out."""
    made: dict[str, Any] = {} if output is None else media.output(view.rows[row], output)
    missing = next((failed for failed in failures if not failed.protocol), None)
    return made | without_empty(
        {
            "failure": None if missing is None else _failure(missing) | {"attempts": missing.attempts},
            "scores": {failed.protocol: _failure(failed) for failed in failures if failed.protocol},
            "words": {pid: found[place] for pid, found in texts.words.items() if place in found},
            "seconds": None if output is None else number(round(output.seconds, 3)),
        }
    )


def _failure(failed: Failed) -> dict[str, Any]:
    return {"kind": failed.kind, "detail": failed.detail}
