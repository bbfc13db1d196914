"""Errors of the service: one JSON form for all, `application/problem+json` of RFC 9457."""

import http
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

PROBLEM_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An error that is answered.

    Attributes:
        status: Int. Status of HTTP.
        code: Str. What is wrong, for programs.
        detail: Str. What is wrong, for people; it repeats nothing of the request but numbers.
        headers: Further headers of the answer.
        more: Further members of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.more = dict(headers or {}), more


def problem_response(problem: ProblemError) -> JSONResponse:
    """Return the answer of a problem."""
    try:
        title = http.HTTPStatus(problem.status).phrase
    except ValueError:
        title = "Error"
    return JSONResponse(
        {
            "title": title,
            "status": problem.status,
            "code": problem.code,
            "detail": problem.detail,
            **problem.more,
        },
        problem.status,
        headers=problem.headers,
        media_type=PROBLEM_TYPE,
    )
