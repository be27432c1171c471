"""JUnit XML: a case for every check, as test runners and continuous integration read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from ..failure_text import failure_text
from ..report import Report, assumed, label
from ..verdict import SKIP, Verdict
from .wording import counted, declared, family, measured, parameters


def as_junit(report: Report) -> str:
    """The report as one test suite; failures that are declared count as skipped."""
    labels = [label(v) for v in report.verdicts]
    counts = {
        "tests": len(labels),
        "failures": sum(name in ("FAIL", "XPASS") for name in labels),
        "errors": 0,
        "skipped": sum(name in ("skip", "known") for name in labels),
        "time": f"{report.seconds:.3f}",
    }
    whole = ET.Element("testsuites", _texts({"name": "refimpl", **counts}))
    suite = ET.SubElement(
        whole, "testsuite", _texts({"name": report.target, **counts, "timestamp": report.date.rstrip("Z")})
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", _texts({"name": name, "value": value}))
    for v in report.verdicts:
        _case(suite, v, report)
    ET.indent(whole)
    return ET.tostring(whole, encoding="us-ascii", xml_declaration=True).decode("ascii")


def _properties(report: Report) -> dict[str, object]:
    return {
        **{f"version of {name}": value for name, value in report.versions.items()},
        **{f"target's {name}": value for name, value in report.implementation.items()},
        "level": report.level,
        **({"thrift": report.thrift} if report.thrift != 1 else {}),
        "seed": report.seed,
        **report.ledger,
        **{f"parameter {name}": value for name, value in parameters(report).items()},
        "outcome": counted(report),
        **({"conventions": assumed(report)} if report.convention else {}),
    }


def _case(suite: ET.Element, v: Verdict, report: Report) -> None:
    name = v.check.partition(".")[2] or v.check
    case = ET.SubElement(
        suite, "testcase", _texts({"classname": family(v.check), "name": name, "time": f"{v.seconds:.3f}"})
    )
    if v.convention:
        properties = ET.SubElement(case, "properties")
        ET.SubElement(properties, "property", name="convention", value=v.convention)
    if v.status == SKIP:
        ET.SubElement(case, "skipped", message=v.detail)
    elif label(v) == "known":
        ET.SubElement(case, "skipped", message=f"known failure: {v.expected_failure}")
    elif not v.good:
        failure = ET.SubElement(case, "failure", _texts({"type": label(v), "message": measured(v)}))
        told = f"parameters: {declared(parameters(report))}; level {report.level}"
        failure.text = "\n".join([*failure_text(v, 100, report), told])
    elif v.sensitivity:
        ET.SubElement(case, "system-out").text = f"would have seen: {v.sensitivity}; {v.samples} samples"


def _texts(values: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
