"""Runs openstackclient's own `main` once for each line of standard input, a JSON list of arguments, and answers with a JSON line:
its exit code and what it has printed. One process for all of them, since its start alone takes seconds."""

import contextlib
import io
import json
import sys

from openstackclient import shell


def run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return {"code": code or 0, "stdout": out.getvalue(), "stderr": err.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
