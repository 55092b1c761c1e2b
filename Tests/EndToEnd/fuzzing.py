"""What schemathesis checks of every answer besides its own checks; it loads this file when it runs."""

import schemathesis


@schemathesis.check
def data_that_fits_is_not_refused_by_the_schema(ctx, response, case):
    """A method may refuse more than its schema says, such as a path outside the vault. Whoever checks the schema may not."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = response.json()
    assert problem["code"] == "INVALID_ARGUMENT", problem
    assert "violations" not in (problem.get("details") or {}), problem


@schemathesis.check
def a_failure_is_a_problem(ctx, response, case):
    """RFC 9457, with a status that is the response's and words for people."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers
    problem = response.json()
    assert problem["status"] == response.status_code and problem["title"] and problem["detail"], problem
