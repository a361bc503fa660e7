"""One peer over a list of files, as a process: ``python -m benchmarks.deidentification.worker NAME PROFILE JOBS DONE``.

Every finished file is a line of JSON in DONE: its number and the class of the error, or nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom

_GDCM_SECONDS = 30
_RECIPES = {
    "basic": ("basic",),
    "basic-modified-dates": ("basic", "modified_dates"),
}
Tool = Callable[[Path, Path], None]


def deid(_: str) -> Tool:
    """deid with the recipe it uses when none is named: replaces nothing it was not told, removes private tags."""
    from deid.dicom import get_identifiers, replace_identifiers

    def run(source: Path, target: Path) -> None:
        ids = get_identifiers([str(source)])
        cleaned = replace_identifiers([str(source)], ids=ids, save=False, remove_private=True)
        cleaned[0].save_as(target)

    return run


def deid_our_recipe(profile: str) -> Tool:
    """deid executing the recipe files of the project, with functions for its UIDs, dates, dummies and pseudonyms."""
    from deid.config import DeidRecipe
    from deid.dicom import get_identifiers, replace_identifiers

    import pacs_pipeline.deidentify

    folder = Path(pacs_pipeline.deidentify.__file__).parent / "recipes"
    files = [str(folder / f"{name}.deid") for name in _RECIPES.get(profile, _RECIPES["basic-modified-dates"])]
    recipe = DeidRecipe(deid=files)

    def text(field: Any) -> str:
        return str(field.element.value)

    def uid(*, field: Any, **_: Any) -> str:
        return f"2.25.{int.from_bytes(hashlib.sha256(text(field).encode()).digest()[:15], 'big')}"

    def pseudonym(*, field: Any, **_: Any) -> str:
        return "P" + hashlib.sha256(text(field).encode()).hexdigest()[:16]

    def dummy(*, field: Any, **_: Any) -> Any:
        dummies: dict[str, Any] = {"DA": "19000101", "DT": "19000101000000", "TM": "000000", "UI": "2.25.1"}
        dummies |= {"OB": b"", "OW": b"", "UN": b"", "SQ": []} | dict.fromkeys(("DS", "IS"), "0")
        dummies |= dict.fromkeys(("US", "SS", "UL", "SL", "FL", "FD"), 0)
        return dummies.get(field.element.VR, "ANONYMIZED")

    def date_shift(**_: Any) -> str:
        return "-1000"  # JITTER takes days

    def blank(**_: Any) -> str:
        return ""

    functions = {"uid": uid, "pseudonym": pseudonym, "dummy": dummy, "date_shift": date_shift}
    functions |= {"remove_or_blank": blank, "clean_text": blank, "clean_content": blank}
    functions |= dict.fromkeys(("blank_or_dummy", "remove_or_dummy", "remove_blank_or_dummy"), dummy)

    def run(source: Path, target: Path) -> None:
        ids = get_identifiers([str(source)], expand_sequences=True)
        ids[str(source)] |= functions
        cleaned = replace_identifiers([str(source)], ids=ids, deid=recipe, save=False, remove_private=True)
        cleaned[0].save_as(target)

    return run


def dicom_anonymizer(_: str) -> Tool:
    """dicom-anonymizer with its own rules; private tags are deleted."""
    from dicomanonymizer import anonymize_dicom_file

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def dicognito(_: str) -> Tool:
    """dicognito with one seed for all files."""
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="score")

    def run(source: Path, target: Path) -> None:
        ds = pydicom.dcmread(source, force=True)
        anonymizer.anonymize(ds)
        ds.save_as(target)

    return run


def gdcmanon(_: str) -> Tool:
    """``gdcmanon -e``: what it takes out is encrypted for a certificate of nobody."""
    folder = tempfile.TemporaryDirectory(prefix="gdcmanon-")  # deleted with the process
    (Path(folder.name) / "certificate.pem").write_bytes(certificate())

    def run(source: Path, target: Path) -> None:
        command = ["gdcmanon", "-e", "-c", Path(folder.name) / "certificate.pem", "-i", source, "-o", target]
        done = subprocess.run(command, capture_output=True, timeout=_GDCM_SECONDS, check=False)
        if done.returncode < 0:
            raise RuntimeError(f"signal {-done.returncode}")
        if done.returncode:
            target.unlink(missing_ok=True)
            raise RuntimeError("refused")

    return run


def certificate() -> bytes:
    """A certificate of nobody, as PEM, for tools that encrypt what they take out."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


TOOLS: dict[str, Callable[[str], Tool]] = {
    "deid": deid,
    "deid, our recipe": deid_our_recipe,
    "dicom-anonymizer": dicom_anonymizer,
    "dicognito": dicognito,
    "gdcmanon": gdcmanon,
}


def main(name: str, profile: str, job_file: str, done_file: str) -> None:
    """Run one tool over all jobs; an error of one file is its result."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    tool = TOOLS[name](profile)
    with Path(done_file).open("a", buffering=1) as done:
        for job in json.loads(Path(job_file).read_text()):
            error = ""
            try:
                tool(Path(job["source"]), Path(job["target"]))
            except (Exception, SystemExit) as crash:  # noqa: BLE001 whatever a foreign tool raises is its result
                detail = f" {crash}" if type(crash) is RuntimeError and name == "gdcmanon" else ""
                error = f"{type(crash).__name__}{detail}"
            done.write(json.dumps([job["number"], error]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
