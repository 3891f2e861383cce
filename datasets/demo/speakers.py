"""The five speakers: one voice and one face each.

Lengths of an identity are in inter-ocular distances of the portrait unless they are ratios. The
identities are those of 90 random ones whose smallest pairwise face-descriptor distance is largest;
the voices were picked by word error rate and by how far they lie apart. s1, s3 and s4 got a longer upper
lip after that (``mouthy``, for s3 ``nose`` too): one that touches the nose breaks landmarks, and on s3 with
rounded lips the face detector.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """How a face differs from the portrait.

    ``mouth``, ``lips``, ``eyesize``, ``nosew`` and ``hair`` (x, y) are ratios; ``eyes`` moves the
    eyes apart, ``brow`` the brows up, ``chin``, ``nose`` and ``mouthy`` those parts down; ``jaw`` and
    ``cheek`` widen the face's outline by that fraction; ``light`` is the gain of colour per frame
    width to the right and per frame height downwards; ``gain`` is RGB.
    """

    mouth: float
    lips: float
    eyes: float
    eyesize: float
    brow: float
    jaw: float
    cheek: float
    chin: float
    nose: float
    nosew: float
    mouthy: float
    hair: tuple[float, float]
    light: tuple[float, float]
    gain: tuple[float, float, float]
    gamma: float


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of espeak-ng: a variant of ``gmw/en-US`` and the pitch parameter (0–99)."""

    variant: str
    pitch: int


@dataclass(frozen=True, slots=True)
class Speaker:
    """A face with its voice."""

    name: str
    voice: Voice
    identity: Identity


#: The speakers by name; ``s5`` is in ``test-unseen`` alone.
SPEAKERS = {
    speaker.name: speaker
    for speaker in (
        Speaker(
            "s1",
            Voice("f2", 50),
            Identity(
                mouth=0.863,
                lips=1.001,
                eyes=-0.101,
                eyesize=1.111,
                brow=-0.029,
                jaw=0.053,
                cheek=0.091,
                chin=-0.079,
                nose=0.063,
                nosew=0.827,
                mouthy=0.03,
                hair=(0.989, 0.989),
                light=(0.238, 0.033),
                gain=(0.95, 1.02, 1.0),
                gamma=0.92,
            ),
        ),
        Speaker(
            "s2",
            Voice("f3", 50),
            Identity(
                mouth=1.03,
                lips=0.905,
                eyes=-0.092,
                eyesize=1.052,
                brow=0.052,
                jaw=-0.074,
                cheek=-0.048,
                chin=0.056,
                nose=-0.072,
                nosew=0.83,
                mouthy=0.026,
                hair=(1.024, 0.978),
                light=(-0.103, -0.117),
                gain=(0.86, 0.76, 0.66),
                gamma=1.12,
            ),
        ),
        Speaker(
            "s3",
            Voice("m1", 80),
            Identity(
                mouth=0.959,
                lips=0.822,
                eyes=0.116,
                eyesize=0.88,
                brow=-0.066,
                jaw=-0.074,
                cheek=-0.038,
                chin=0.134,
                nose=-0.05,
                nosew=0.953,
                mouthy=0.03,
                hair=(1.034, 0.969),
                light=(0.171, 0.089),
                gain=(1.02, 1.0, 1.06),
                gamma=0.92,
            ),
        ),
        Speaker(
            "s4",
            Voice("Diogo", 50),
            Identity(
                mouth=1.094,
                lips=1.0,
                eyes=0.046,
                eyesize=1.215,
                brow=0.053,
                jaw=-0.083,
                cheek=0.06,
                chin=-0.092,
                nose=-0.025,
                nosew=0.979,
                mouthy=0.06,
                hair=(1.034, 0.941),
                light=(-0.248, -0.103),
                gain=(1.04, 0.93, 0.84),
                gamma=1.22,
            ),
        ),
        Speaker(
            "s5",
            Voice("sandro", 60),
            Identity(
                mouth=1.019,
                lips=0.815,
                eyes=-0.062,
                eyesize=1.24,
                brow=-0.058,
                jaw=-0.093,
                cheek=0.032,
                chin=0.128,
                nose=0.061,
                nosew=1.188,
                mouthy=0.026,
                hair=(0.981, 1.0),
                light=(0.157, -0.158),
                gain=(1.0, 1.0, 1.0),
                gamma=1.0,
            ),
        ),
    )
}
