"""Why a request is not answered: a status, a word for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):  # noqa: N818 - not every one is an error of the program
    """A request that is not answered.

    Args:
        status: of HTTP.
        code: a word that programs can compare.
        message: what was got, what is allowed, what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    def to_dict(self) -> dict[str, object]:
        """Return the body of the answer."""
        return {"error": {"code": self.code, "message": self.message}}
