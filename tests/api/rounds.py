"""Rounds of schemathesis against a service that runs, until as many requests were made up as are wanted.

    rounds.py URL KEY CASES SEED FOLDER

The description is the one that the service serves. It has to be valid OpenAPI, and every operation that it names is
tried. Reports are left in the folder, and a list of the answers of 5xx, which judge.py reads. The number of requests is printed; what went wrong is said on the standard error.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from openapi_spec_validator import validate

from strict import close_answers

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

# A round takes a minute at the most. A service that hangs would have it wait for each of its requests.
PATIENCE = 600


def fail(text):
    sys.exit(f"fuzz-api: {text}")


def described(url):
    """The description, and how many operations it names."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=30) as answer:
        document = json.load(answer)
    try:
        validate(document)
    except Exception as fault:
        fail(f"the document is no valid OpenAPI: {fault}")
    operations = sum(len(METHODS & path.keys()) for path in document["paths"].values())
    close_answers(document)
    return document, operations


def make_example(url, key):
    """The link of the document's examples, so that they lead somewhere."""
    body = json.dumps({"url": "https://example.org/a/long/path?q=1", "slug": "x7Kq2mP"}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/links", body, headers), timeout=30)
    except urllib.error.HTTPError as answer:
        if answer.code != 409:  # another job made it
            raise


def from_failures(log):
    """What a log says from the failures on."""
    lines = log.splitlines()
    headings = ("= FAILURES", "= ERRORS", "= SUMMARY")
    start = next((at for at, line in enumerate(lines) if any(word in line for word in headings)), 0)
    return "\n".join(lines[start:])


def run_round(url, key, examples, seed, strict, report):
    """One run of schemathesis: its report as a file, and what it said."""
    # Not by its own name: that holds the path of the place it was installed to.
    program = [sys.executable, str(Path(sys.executable).with_name("schemathesis"))]
    options = ["--config-file", "tests/api/schemathesis.toml", "--no-color", "run", str(strict), "--url", url]
    options += ["--header", f"Authorization: Bearer {key}", "--max-examples", str(examples), "--seed", str(seed)]
    options += ["--report", "json", "--report-json-path", str(report)]
    log = Path(f"{report}.log")
    environment = {**os.environ, "FUZZ_FAULTS": str(report.with_name("faults"))}
    with log.open("w") as output:
        try:
            code = subprocess.run(
                program + options,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {PATIENCE} s"
    return code, log.read_text()


def main():
    url, key, cases, seed, folder = sys.argv[1:]
    cases, seed, folder = int(cases), int(seed), Path(folder).resolve()
    document, operations = described(url)
    strict = folder / "strict.json"
    strict.write_text(json.dumps(document))
    (folder / "faults").touch()
    make_example(url, key)
    made = rounds = 0
    while made < cases:
        # About a dozen operations take input. A round has each boundary once, so few large rounds say more.
        examples = min(max((cases - made) // 12, 20), 400)
        report = folder / f"round-{rounds}.json"
        code, log = run_round(url, key, examples, seed + rounds, strict, report)
        if code != 0:
            fail(f"{from_failures(log)}\nthe seed of this round was {seed + rounds}, with {examples} examples; code {code}")
        found = json.loads(report.read_text())
        tested = found["operations"]["tested"]
        if tested != operations:
            fail(f"{tested} of {operations} operations were tried: see {report}.log")
        made += found["test_cases"]["generated"]
        rounds += 1
        print(f"fuzz-api: {folder.name}: {made} requests", file=sys.stderr, flush=True)
    print(made)


main()
