"""Putting objects: verified or refused, skipped when there, and never silently wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pacs_pipeline.errors import Permanent, SettingsError, Transient
from pacs_pipeline.storage import Bucket, Upload, content

KEY = "studies/2.25.1/series/2.25.2/2.25.3-0123456789abcdef.dcm"


def upload(folder: Path, name: str = "a", body: bytes = b"pixels" * 100, key: str = KEY) -> Upload:
    path = folder / name
    path.write_bytes(body)
    return Upload(path, key, hashlib.sha256(body).hexdigest(), len(body))


def put(bucket: Bucket, item: Upload, **options: Any) -> Any:
    return bucket.put_file(item.path, item.key, item.sha256, item.size, **options)


def test_put_stores_the_bytes_and_their_digest(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    item = upload(tmp_path)
    result = put(bucket, item)
    assert (result.key, result.uri, result.skipped) == (KEY, f"s3://research/{KEY}", False)
    stored = s3.objects[KEY]
    assert stored.body == item.path.read_bytes()
    assert stored.headers["x-amz-meta-sha256"] == item.sha256


def test_the_same_object_is_not_sent_again(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    item = upload(tmp_path)
    put(bucket, item)
    assert put(bucket, item).skipped
    assert s3.count("PUT") == 1


def test_being_wrong_about_absence_does_no_harm(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    item = upload(tmp_path)
    put(bucket, item)
    assert not put(bucket, item, known_absent=True).skipped
    assert s3.objects[KEY].body == item.path.read_bytes()


@pytest.mark.parametrize("wrong", ["size", "metadata", "content"])
def test_a_damaged_object_in_the_bucket_is_put_again(bucket: Bucket, s3: Any, tmp_path: Path, wrong: str) -> None:
    item = upload(tmp_path)
    put(bucket, item)
    stored = s3.objects[KEY]
    if wrong == "size":
        stored.body = stored.body[:-1]
    elif wrong == "metadata":
        stored.headers["x-amz-meta-sha256"] = "0" * 64
    else:
        stored.body = b"X" + stored.body[1:]
        stored.etag = hashlib.md5(stored.body).hexdigest()
    assert not put(bucket, item).skipped
    assert s3.objects[KEY].body == item.path.read_bytes()


def test_an_object_that_arrived_damaged_is_refused_and_kept(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.damage_on_arrival = True
    with pytest.raises(Transient, match=r"arrived damaged.*run again"):
        put(bucket, upload(tmp_path))
    assert KEY in s3.objects


def test_a_server_without_md5_etags_is_read_back(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.opaque_etags = True
    item = upload(tmp_path)
    assert not put(bucket, item).skipped
    assert s3.count("GET", KEY) == 1
    assert put(bucket, item).skipped
    s3.objects[KEY].body = b"X" + s3.objects[KEY].body[1:]
    assert not put(bucket, item).skipped


def test_an_echoed_checksum_is_no_proof_when_the_etag_disagrees(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.damage_on_arrival = True  # the scripted server repeats x-amz-checksum-sha256 without looking at the body
    with pytest.raises(Transient, match="arrived damaged"):
        put(bucket, upload(tmp_path))


def test_with_kms_the_stored_checksum_is_the_proof(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.encrypted = True
    item = upload(tmp_path)
    put(bucket, item)
    assert put(bucket, item).skipped
    assert s3.count("GET", KEY) == 0


def test_an_old_server_gets_content_md5(s3: Any, tmp_path: Path) -> None:
    bucket = Bucket(s3.settings(checksums="when_required"), attempts=2)
    put(bucket, upload(tmp_path))
    assert not [name for name in s3.objects[KEY].headers if "checksum" in name]
    bucket.close()


@pytest.mark.parametrize("change", ["content", "longer", "shorter", "gone"])
def test_a_file_that_changed_after_the_verdict_is_not_published(
    bucket: Bucket, s3: Any, tmp_path: Path, change: str
) -> None:
    item = upload(tmp_path)
    body = item.path.read_bytes()
    if change == "gone":
        item.path.unlink()
    else:
        item.path.write_bytes({"content": b"X" + body[1:], "longer": body + b"X", "shorter": body[:-1]}[change])
    with pytest.raises(Permanent, match="staged file"):
        put(bucket, item)
    assert s3.objects == {}


def test_a_changed_file_is_noticed_even_when_the_object_is_there(bucket: Bucket, tmp_path: Path) -> None:
    item = upload(tmp_path)
    put(bucket, item)
    item.path.write_bytes(b"X" * item.size)
    with pytest.raises(Permanent, match="not the one that was validated"):
        put(bucket, item)


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_pipeline.storage.bucket.SINGLE_PUT_LIMIT", 100)
    monkeypatch.setattr(content, "PART_SIZE", 64)


@pytest.mark.usefixtures("_small_parts")
def test_a_large_object_goes_in_parts_and_is_skipped_later(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    item = upload(tmp_path, body=os.urandom(300))
    assert not put(bucket, item).skipped
    assert s3.objects[KEY].body == item.path.read_bytes()
    assert s3.objects[KEY].etag.endswith("-5")
    assert put(bucket, item).skipped
    assert s3.uploads == {}


@pytest.mark.usefixtures("_small_parts")
def test_a_large_object_that_arrived_damaged_is_refused(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.damage_on_arrival = True
    item = upload(tmp_path, body=os.urandom(300))
    with pytest.raises(Transient, match="arrived damaged"):
        put(bucket, item)
    s3.damage_on_arrival = False
    assert not put(bucket, item).skipped


@pytest.mark.usefixtures("_small_parts")
def test_a_large_file_that_changed_leaves_neither_object_nor_parts(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    item = upload(tmp_path, body=os.urandom(300))
    item.path.write_bytes(os.urandom(300))
    with pytest.raises(Permanent, match="not the one that was validated"):
        put(bucket, item)
    assert s3.objects == {}
    assert s3.uploads == {}


@pytest.mark.usefixtures("_small_parts")
def test_parts_that_a_killed_run_left_are_removed(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.uploads["old"] = {1: b"x"}
    s3.upload_headers["old"] = (KEY, {})
    s3.uploads["other"] = {1: b"x"}
    s3.upload_headers["other"] = (KEY + "x", {})
    put(bucket, upload(tmp_path, body=os.urandom(300)))
    assert set(s3.uploads) == {"other"}


# ---------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (502, "BadGateway")])
def test_an_overloaded_server_is_asked_again(bucket: Bucket, s3: Any, tmp_path: Path, status: int, code: str) -> None:
    s3.refuse = [(status, code)]
    put(bucket, upload(tmp_path))
    assert KEY in s3.objects


def test_a_server_that_stays_down_is_transient(s3: Any, tmp_path: Path) -> None:
    s3.always = (503, "SlowDown")
    bucket = Bucket(s3.settings(), attempts=2)
    with pytest.raises(Transient, match=r"overloaded or down.*run again") as caught:
        put(bucket, upload(tmp_path))
    assert str(s3.port) in str(caught.value)
    bucket.close()


def test_a_refused_connection_is_transient_and_names_the_endpoint(s3: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = s3.settings().model_copy(update={"endpoint_url": f"http://127.0.0.1:{port}"})
    bucket = Bucket(settings, attempts=1)
    with pytest.raises(Transient, match=rf"127\.0\.0\.1:{port} cannot be reached.*endpoint_url"):
        put(bucket, upload(tmp_path))
    bucket.close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "AccessDenied", Permanent, "denies access"),
        (403, "InvalidAccessKeyId", Permanent, "does not know these keys"),
        (403, "SignatureDoesNotMatch", Permanent, "AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", Permanent, "clock"),
        (400, "AuthorizationHeaderMalformed", Permanent, "bucket.region"),
        (400, "BadDigest", Transient, "damaged"),
        (507, "InsufficientStorage", Transient, "no space"),
        (400, "EntityTooLarge", Permanent, "refused"),
    ],
)
def test_refusals_say_what_to_do(
    s3: Any, tmp_path: Path, status: int, code: str, kind: type[Exception], words: str
) -> None:
    s3.always = (status, code)
    bucket = Bucket(s3.settings(), attempts=1)
    with pytest.raises(kind, match=words):
        put(bucket, upload(tmp_path), known_absent=True)
    bucket.close()


def test_a_missing_bucket_is_permanent(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    s3.buckets.clear()
    with pytest.raises(Permanent, match=r"does not exist.*bucket\.name"):
        put(bucket, upload(tmp_path))


def test_ensure_creates_once(bucket: Bucket, s3: Any) -> None:
    s3.buckets.clear()
    assert bucket.ensure()
    assert not bucket.ensure()


def test_keys_must_be_literal(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    for key in ("a//b", "/a", "a b", "a/../b", "ä", "a/", ""):
        with pytest.raises(Permanent, match="object key"):
            put(bucket, dataclasses.replace(upload(tmp_path), key=key))
    assert s3.requests == []


def test_missing_keys_name_the_fix(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SettingsError, match="AWS_ACCESS_KEY_ID"):
        Bucket(s3.settings())
    with pytest.raises(SettingsError, match=r"access_key_file.*cannot be read"):
        Bucket(s3.settings(access_key_file=tmp_path / "none", secret_key_file=tmp_path / "none"))
    (tmp_path / "access").write_text("AK\n")
    (tmp_path / "secret").write_text("SK\n")
    bucket = Bucket(s3.settings(access_key_file=tmp_path / "access", secret_key_file=tmp_path / "secret"))
    assert bucket.ensure() is False
    bucket.close()


def test_an_endpoint_that_is_no_url_and_a_missing_ca_are_settings_errors(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="endpoint_url"):
        Bucket(s3.settings().model_copy(update={"endpoint_url": "not a url"}))
    with pytest.raises(SettingsError, match="ca_bundle"):
        Bucket(s3.settings(ca_bundle=tmp_path / "none.pem"))


# ------------------------------------------------------------------------------------------- many at once


def many(folder: Path, count: int, series: int = 3) -> list[Upload]:
    return [
        upload(folder, f"f{i}", b"%d" % i * 50, f"studies/2.25.1/series/2.25.{i % series}/2.25.{i}-00.dcm")
        for i in sorted(range(count), key=lambda i: i % series)
    ]


def test_put_many_keeps_the_order_and_asks_once_per_series(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    items = many(tmp_path, 30)
    results = list(bucket.put_many(items, workers=4))
    assert [r.key for r in results] == [i.key for i in items]
    assert s3.count("GET", "list-type=2") == 3
    assert s3.count("HEAD") == 0
    again = list(bucket.put_many(items, workers=4))
    assert all(r.skipped for r in again)
    assert s3.count("PUT") == 30


def test_put_many_resumes_after_a_failure(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    items = many(tmp_path, 200, series=1)
    s3.refuse_puts = {"2.25.20-00.dcm": (403, "AccessDenied")}
    with pytest.raises(Permanent, match="denies access"):
        list(bucket.put_many(items, workers=2))
    assert 20 <= len(s3.objects) < 60, "the rest is not tried"
    s3.refuse_puts = {}
    results = list(bucket.put_many(items, workers=2))
    assert len(results) == len(s3.objects) == 200
    assert s3.count("PUT") <= 202, "what was put before is not sent again"


def test_put_rows_streams_rows_with_their_objects(s3: Any, tmp_path: Path) -> None:
    bucket = Bucket(s3.settings(prefix="lake/"), attempts=1)
    (tmp_path / "i").mkdir()
    rows = []
    for i in range(5):
        body = b"%d" % i * 9
        (tmp_path / f"i/{i}.dcm").write_bytes(body)
        rows.append(
            {
                "StudyInstanceUID": "2.25.1",
                "SeriesInstanceUID": "2.25.2",
                "SOPInstanceUID": f"2.25.3{i}",
                "sha256": hashlib.sha256(body).hexdigest(),
                "size": len(body),
                "path": f"i/{i}.dcm",
            }
        )
    taken = 0

    def stream() -> Any:
        nonlocal taken
        for row in rows * 100:
            taken += 1
            yield row

    found = bucket.put_rows(stream(), tmp_path, workers=2)
    row, first = next(found)
    assert row is rows[0]
    assert first.key.startswith("lake/studies/2.25.1/series/2.25.2/2.25.30-")
    assert taken <= 10, "only a window of rows is in memory"
    found.close()
    bucket.close()


def test_unsorted_uploads_are_still_right(bucket: Bucket, s3: Any, tmp_path: Path) -> None:
    items = sorted(many(tmp_path, 60, series=20), key=lambda item: item.path.name)
    list(bucket.put_many(items, workers=8))
    assert all(r.skipped for r in bucket.put_many(items, workers=8))
    assert bucket.totals() == (60, sum(item.size for item in items))
    assert bucket.totals("studies/2.25.1/series/2.25.0/")[0] == 3


def test_listing_goes_over_pages(bucket: Bucket, s3: Any) -> None:
    for i in range(2500):
        s3.objects[f"p/{i:05}"] = type("S", (), {"body": b"x", "headers": {}, "etag": ""})()
    assert bucket.totals("p/") == (2500, 2500)


def test_probe_leaves_nothing_behind(bucket: Bucket, s3: Any) -> None:
    bucket.probe()
    assert s3.objects == {}
    s3.damage_on_arrival = True
    with pytest.raises(Permanent, match="other bytes"):
        bucket.probe()
    assert s3.objects == {}


def test_head_and_delete(bucket: Bucket, tmp_path: Path) -> None:
    item = upload(tmp_path)
    assert bucket.head(KEY) is None
    put(bucket, item)
    found = bucket.head(KEY)
    assert found is not None
    assert found.size == item.size
    bucket.delete(KEY)
    bucket.delete(KEY)
    assert bucket.head(KEY) is None
