"""What nothing else checks: schemas against their examples, and documents against the sources."""

import json
import re
import sys
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parent.parent
BUILT = {"target", ".tideflow", ".git"}
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(p for top in ROOT.iterdir() if top.name not in BUILT for p in top.rglob("*.md")),
]


def schemas():
    """Every schema has an example, and every example is valid."""
    for path in sorted([*ROOT.glob("dataflows/schemas/*.json"), *ROOT.glob("models/schemas/*.json")]):
        schema = json.loads(path.read_text())
        validator = jsonschema.Draft202012Validator(schema)
        if not schema.get("examples"):
            yield f"{path}: no examples"
        for example in schema.get("examples", []):
            yield from (f"{path}: example: {e.message}" for e in validator.iter_errors(example))


def graph():
    """The graph in the README, which is compiled there, is the one that is tested."""
    source = (ROOT / "dataflows/src/device_health/mod.rs").read_text()
    blocks = re.findall(r"```rust\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    graph = re.search(r"^pub fn device_health.*?^}\n", "".join(blocks), re.DOTALL | re.MULTILINE)
    if graph is None:
        yield "README.md: no graph, expected `pub fn device_health` in a block marked `rust`"
    elif graph[0] not in source:
        yield "README.md: the graph differs from dataflows/src/device_health/mod.rs"


def links():
    """Links to files and to folders lead somewhere."""
    for document in DOCUMENTS:
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (document.parent / target).exists():
                yield f"{document.relative_to(ROOT)}: link to `{target}`, which is not there"


def paths():
    """A file that a document names in backticks with its folder is the end of some file's path."""
    tops = [top for top in ROOT.iterdir() if top.name not in BUILT]
    there = [f"/{p.relative_to(ROOT)}" for top in tops for p in [top, *top.rglob("*")]]
    for document in DOCUMENTS:
        named = r"`([\w.-]+(?:/[\w.-]+)+\.(?:md|py|rs|sh|toml))`"
        for path in re.findall(named, document.read_text()):
            if not any(found.endswith(f"/{path}") for found in there):
                yield f"{document.relative_to(ROOT)}: `{path}`, which is not there"


def metrics():
    """The table of metrics has those that the program has."""
    source = (ROOT / "core/src/metrics.rs").read_text()
    there = set(re.findall(r"^    /// `(tideflow_\w+)", source, re.MULTILINE))
    table = (ROOT / "docs/metrics.md").read_text()
    told = set(re.findall(r"^\| `(tideflow_\w+)", table, re.MULTILINE))
    yield from (f"docs/metrics.md: `{name}` is missing" for name in sorted(there - told))
    yield from (f"docs/metrics.md: `{name}`, which no program has" for name in sorted(told - there))


def crash_points():
    """Every point at which a process can be told to die is one of the tests', and in the document's table."""
    crates = (p for p in ROOT.glob("*/src/**/*.rs") if p.relative_to(ROOT).parts[0] not in BUILT)
    point = r'crash_point\("([^"]+)"\)'
    there = {name for source in crates for name in re.findall(point, source.read_text())}
    tests = ROOT / "dataflows/tests/end_to_end/crash"
    tested = "".join((tests / name).read_text() for name in ("points.rs", "files.rs", "failing.rs"))
    document = (ROOT / "docs/exactly-once.md").read_text()
    for name in sorted(there):
        if not re.search(rf'"{name}(:\d+)?"', tested):
            yield f"{tests.relative_to(ROOT)}: nothing is killed at `{name}`"
        if f"`{name}`" not in document:
            yield f"docs/exactly-once.md: `{name}` is missing"


def messages():
    """What programs say, as the document quotes it with `…` for what differs, is in the sources."""
    crates = (p for p in ROOT.glob("*/src/**/*.rs") if p.relative_to(ROOT).parts[0] not in BUILT)
    # Texts over several lines are one, and names stand in backticks of their own.
    source = re.sub(r"\\\n\s*", "", "".join(p.read_text() for p in crates)).replace("`", "")
    document = (ROOT / "docs/exactly-once.md").read_text()
    document = re.sub(r"```.*?```", "", document, flags=re.DOTALL)
    differs = r"…|\bNAME[.\w]*|\b\d+\b|\bwindows\b|\w+/"
    for quoted in (span for span in re.findall(r"`([^`]+)`", document) if "…" in span):
        parts = re.split(differs, re.sub(r"\s+", " ", quoted))
        for part in (part.strip(" ;:,.") for part in parts):
            if len(part) >= 18 and " " in part and part not in source:
                yield f"docs/exactly-once.md: `{quoted}`: no program says `{part}`"


def main():
    problems = [
        *schemas(),
        *graph(),
        *links(),
        *paths(),
        *metrics(),
        *crash_points(),
        *messages(),
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
