"""The settings of the gateway (``--set key=value``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class GatewayOptions(BaseModel):
    """``adapter`` is what stands after the colon; the rest overrides its YAML.

    ``ckpt`` is ``NAME=PATH[,NAME=PATH…]`` with the names of the YAML's ``requires``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str
    checkout: str | None = None
    python: str | None = None
    ckpt: str = ""
    logs: str | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    retries: int | None = Field(default=None, ge=0, le=10)

    @field_validator("ckpt")
    @classmethod
    def _pairs(cls, text: str) -> str:
        split_pairs(text)
        return text


def split_pairs(text: str) -> dict[str, str]:
    """``a=x,b=y`` as a mapping. Raises ``ValueError`` for any other form."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, path = part.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{part!r} is not NAME=PATH")
        found[name] = path
    return found
