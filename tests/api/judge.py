"""Judges the answers of 5xx by the service's log, where each is with its cause.

    judge.py REQUESTS LOG FAULTS...

A database that is late, on a machine with too much to do, is no fault of a request; anything else is. FAULTS are the
lists that rounds.py leaves: what is there and not in the log has no cause that would excuse it.
"""

import re
import sys

LATE = re.compile("every connection is in use|no answer within")


def lines_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def main():
    requests, log = int(sys.argv[1]), sys.argv[2]
    answers = [line for path in sys.argv[3:] for line in lines_of(path)]
    errors = [line for line in lines_of(log) if '"severity":"ERROR"' in line]
    others = [line for line in errors if not LATE.search(line)]
    late = len(errors) - len(others)
    if others:
        sys.exit(f"fuzz-api: {len(others)} requests failed, the first with {others[0]}")
    if len(answers) > late:
        sys.exit(f"fuzz-api: answers of 5xx: {len(answers)}, for a late database: {late}; the first is {answers[0]}")
    if late * 100 > requests:
        sys.exit(f"fuzz-api: {late} of {requests} requests were 503")
    if late:
        end = f"no answer that is not described; {late} were 503, since the database was late on this machine"
    else:
        end = "no 5xx, and no answer that is not described"
    print(f"fuzz-api: {requests} requests: {end}", file=sys.stderr)


main()
