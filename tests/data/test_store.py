"""Properties of the store: right bytes, once, whatever happens while it is built."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import scantling.data.build as build_module
import scantling.data.records as records_module
from scantling.core.errors import DataError, RecipeError, ScantlingError
from scantling.core.seams import Derivation
from scantling.data.build import Decoder, build, decoder_of
from scantling.data.cache import remove, stores
from scantling.data.direct import Direct
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.readers import read_mask, read_picture
from scantling.data.records import load_records, open_records
from scantling.data.references import fingerprints
from scantling.data.store import Store, _fields, _key, open_images

P = Preprocess(24, fit="pad")


def write_images(folder: Path, number: int = 10, masks: bool = False, size: tuple[int, int] = (30, 40)) -> Manifest:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(number):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        rows.append({"image": f"{i}.png", "label": str(i % 3)})
        if masks and i != 1:
            Image.fromarray(rng.integers(0, 2, size, dtype=np.uint8) * 255).save(folder / f"{i}_mask.png")
            rows[-1]["mask"] = f"{i}_mask.png"
    return Manifest(pd.DataFrame(rows), folder)


def expected(manifest: Manifest, preprocess: Preprocess = P) -> torch.Tensor:
    pixels = [preprocess.apply(read_picture(manifest.path(i)[0]))[0] for i in range(len(manifest))]
    return torch.from_numpy(np.stack(pixels))


def touch(path: Path, pixels: np.ndarray) -> None:
    """Replace an image by one whose time of change differs."""
    before = path.stat().st_mtime_ns
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before + 10**9, before + 10**9))


@pytest.fixture
def decoded(monkeypatch):
    """Rows decoded in this process since the test began."""
    rows: list[int] = []
    original = Decoder.__call__

    def counting(self, row):
        rows.append(row)
        return original(self, row)

    monkeypatch.setattr(Decoder, "__call__", counting)
    return rows


def run(code: str, *arguments: object) -> subprocess.Popen:
    """Python code in another process; it imports neither torch nor pandas, so it starts at once."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def build_elsewhere(manifest: Manifest, cache: Path) -> subprocess.Popen:
    """Open and fill the store of a manifest in another process, slowly; it prints the rows it decodes."""
    decoder = decoder_of(manifest, P)
    prints = fingerprints(decoder.rows, decoder.num_classes)
    process = run(
        """
        import json, sys, time
        from pathlib import Path
        from scantling.data.build import Decoder, build
        from scantling.data.records import Field, open_records
        job = json.loads(sys.stdin.readline())
        original = Decoder.__call__
        def slow(self, row):
            time.sleep(0.005)
            print(row, flush=True)
            return original(self, row)
        Decoder.__call__ = slow
        fields = [Field(n, d, tuple(s)) for n, d, s in job["fields"]]
        extra = {"fingerprints.bin": bytes.fromhex(job["prints"])}
        records = open_records(Path(job["folder"]), lambda: fields, job["count"], job["info"], extra)
        build(records, Decoder.from_json(job))
        """
    )
    job = {
        "folder": str(cache / "stores" / _key(decoder, prints)),
        "fields": [[f.name, f.dtype, f.shape] for f in _fields(decoder)],
        "prints": prints.tobytes().hex(),
        "count": len(manifest),
        "info": {"preprocess": P.key},
        **decoder.to_json(),
    }
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return process


@pytest.mark.parametrize("keep", ["disk", "memory", "none"])
def test_every_way_of_keeping_gives_the_pixels_of_the_files_in_order(tmp_path, keep):
    manifest = write_images(tmp_path, masks=True)
    source = open_images(manifest, P, keep, tmp_path / "cache", workers=2)
    assert len(source) == 10
    assert source.fields == ("image", "mask")
    rows = torch.tensor([3, 0, 9, 3, 1])
    batch = source.gather(rows)
    assert torch.equal(batch["image"], expected(manifest)[rows])
    assert batch.batch_size == (5,)
    want = P.apply(read_picture(tmp_path / "3.png"), read_mask(tmp_path / "3_mask.png"))[1]
    assert np.array_equal(batch["mask"][0].numpy(), want)
    assert torch.equal(batch["mask"][0], batch["mask"][3])
    assert (batch["mask"][4] == 255).all()
    assert set(source.gather(rows, ["image"]).keys()) == {"image"}
    with pytest.raises(DataError, match=r"no field 'imag' \(did you mean 'image'"):
        source.gather(rows, ["imag"])


def test_a_warm_store_decodes_nothing_is_fast_and_in_place_changes_reach_no_file(tmp_path, decoded):
    manifest = write_images(tmp_path)
    first = Store.open(manifest, P, tmp_path / "cache")
    assert sorted(decoded) == list(range(10))
    first.data["image"][0] = 0
    started = time.perf_counter()
    again = Store.open(manifest, P, tmp_path / "cache")
    assert time.perf_counter() - started < 0.5
    assert len(decoded) == 10
    assert torch.equal(again.data["image"], expected(manifest))
    assert not list(tmp_path.rglob("*.pkl"))
    assert not list(tmp_path.rglob("*.pickle"))


def test_a_read_only_complete_store_can_be_opened(tmp_path):
    manifest = write_images(tmp_path)
    folder = Store.open(manifest, P, tmp_path / "cache").folder
    for path in [*folder.iterdir(), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert torch.equal(Store.open(manifest, P, tmp_path / "cache").data["image"], expected(manifest))


def test_a_killed_build_resumes_with_the_missing_rows_and_the_same_bytes(tmp_path, decoded):
    manifest = write_images(tmp_path, 200, size=(6, 8))
    cache = tmp_path / "cache"
    process = build_elsewhere(manifest, cache)
    for _ in range(100):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = (cache / "stores").glob("[0-9a-f]*")
    done = load_records(folder).done()
    assert 64 <= done.sum() < 200
    store = Store.open(manifest, P, cache, workers=2)
    assert store.folder == folder
    assert sorted(decoded) == np.flatnonzero(~done).tolist()
    assert torch.equal(store.data["image"], expected(manifest))


def test_two_processes_share_one_build(tmp_path, decoded):
    manifest = write_images(tmp_path, 320, size=(6, 8))
    both = [build_elsewhere(manifest, tmp_path / "cache") for _ in range(2)]
    rows = [list(map(int, p.communicate(timeout=60)[0].split())) for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sorted(rows[0] + rows[1]) == list(range(320)), "every row is decoded once, by one of them"
    store = Store.open(manifest, P, tmp_path / "cache")
    assert decoded == []
    assert torch.equal(store.data["image"], expected(manifest))
    assert len(stores(tmp_path / "cache")) == 1


def test_a_second_process_takes_over_when_the_first_is_killed(tmp_path):
    manifest = write_images(tmp_path, 130, size=(6, 8))
    first = build_elsewhere(manifest, tmp_path / "cache")
    first.stdout.readline()
    second = build_elsewhere(manifest, tmp_path / "cache")
    second.stdout.readline()
    first.kill()
    assert second.wait(60) == 0
    store = Store.open(manifest, P, tmp_path / "cache")
    assert torch.equal(store.data["image"], expected(manifest))


def test_worker_processes_build_the_same_store(tmp_path, monkeypatch):
    manifest = write_images(tmp_path, 150, masks=True, size=(6, 8))
    decoder = decoder_of(manifest, P)
    records = open_records(tmp_path / "there", lambda: _fields(decoder), 150, {})
    monkeypatch.setattr(build_module, "_fill", lambda *a, **k: None)
    seen = []
    assert build(records, decoder, 2, lambda done, total: seen.append((done, total)), processes=True) == {}
    assert records.complete, "the processes alone filled it"
    pixels = np.fromfile(records.path("image"), np.uint8).reshape(150, *P.shape)
    assert np.array_equal(pixels, expected(manifest).numpy())
    assert seen
    assert all(total == 150 for _, total in seen)


def test_workers_that_die_leave_the_work_to_the_caller(tmp_path, monkeypatch):
    manifest = write_images(tmp_path)
    decoder = decoder_of(manifest, P)
    records = open_records(tmp_path / "there", lambda: _fields(decoder), 10, {})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert build(records, decoder, 2, processes=True) == {}
    assert records.complete


def test_changed_files_and_settings_give_fresh_data_and_known_rows_are_copied(tmp_path, decoded):
    manifest = write_images(tmp_path)
    cache = tmp_path / "cache"
    old = Store.open(manifest, P, cache)
    decoded.clear()
    touch(tmp_path / "4.png", np.full((30, 40, 3), 77, np.uint8))
    new = Store.open(manifest, P, cache)
    assert new.key != old.key
    assert decoded == [4]
    assert torch.equal(new.data["image"], expected(manifest))
    assert not torch.equal(new.data["image"][4], old.data["image"][4])
    decoded.clear()
    bigger = manifest.with_table(pd.concat([manifest.table.iloc[::-1], manifest.table.iloc[:1]]))
    assert torch.equal(Store.open(bigger, P, cache).data["image"], expected(bigger))
    assert decoded == []
    other = Store.open(manifest, Preprocess(24), cache)
    assert len(decoded) == 10
    assert torch.equal(other.data["image"], expected(manifest, Preprocess(24)))


def test_labels_are_not_in_the_key_and_masks_are(tmp_path):
    manifest = write_images(tmp_path, masks=True)
    cache = tmp_path / "cache"
    store = Store.open(manifest, P, cache)
    relabelled = manifest.with_table(manifest.table.assign(label="0"))
    assert Store.open(relabelled, P, cache).key == store.key
    assert Store.open(manifest.with_table(manifest.table.drop(columns="mask")), P, cache).key != store.key
    touch(tmp_path / "4_mask.png", np.full((30, 40), 255, np.uint8))
    fresh = Store.open(manifest, P, cache)
    known = fresh.data["mask"][4] != 255
    assert fresh.key != store.key
    assert (fresh.data["mask"][4][known] == 1).all()


@pytest.mark.parametrize("file", ["image.bin", "done.bin", "meta.json", "fingerprints.bin", "claims"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_store_is_built_anew_and_never_served(tmp_path, file, damage):
    manifest = write_images(tmp_path)
    cache = tmp_path / "cache"
    path = Store.open(manifest, P, cache).folder / file
    if damage == "gone":
        path.unlink()
    elif file == "claims":
        pytest.skip("an empty file cannot be cut")
    else:
        os.truncate(path, path.stat().st_size // 2)
    assert torch.equal(Store.open(manifest, P, cache).data["image"], expected(manifest))


def test_bad_images_are_named_and_the_good_ones_kept(tmp_path, decoded):
    manifest = write_images(tmp_path, 20)
    cache = tmp_path / "cache"
    for i in range(3, 10):
        (tmp_path / f"{i}.png").write_bytes((tmp_path / f"{i}.png").read_bytes()[:300])
    (tmp_path / "12.png").unlink()
    with pytest.raises(DataError) as caught:
        Store.open(manifest, P, cache)
    text = str(caught.value)
    assert "8 of 20 images" in text
    assert "3.png (row 5:" in text
    assert "and 3 more" in text
    assert "8.png" not in text
    assert "replace these files" in text
    (summary,) = stores(cache)
    assert not summary.complete
    decoded.clear()
    rng = np.random.default_rng(5)
    for i in (*range(3, 10), 12):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    store = Store.open(manifest, P, cache)
    assert sorted(decoded) == [*range(3, 10), 12]
    assert torch.equal(store.data["image"], expected(manifest))
    for i in (2, 5):
        (tmp_path / f"{i}.png").unlink()
    for open_other in (Store.in_memory, lambda m, p: Direct(m, p).gather(torch.arange(20))):
        with pytest.raises(DataError, match=r"2 of 20 images cannot be used: .*2.png \(row 4"):
            open_other(manifest, P)


def test_a_file_that_changes_after_it_was_looked_at_is_not_kept_under_the_old_key(tmp_path):
    manifest = write_images(tmp_path)
    decoder = decoder_of(manifest, P)
    touch(tmp_path / "4.png", np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(DataError, match="changes while it is read"):
        decoder(4)


def test_a_full_disk_is_said_and_what_is_built_stays(tmp_path, monkeypatch, decoded):
    manifest = write_images(tmp_path, 200, size=(6, 8))
    cache = tmp_path / "cache"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(ScantlingError, match="the disk is full"):
            Store.open(manifest, P, cache)
    assert not list((cache / "stores").glob("*[0-9a-f][0-9a-f]*")), "nothing half made stays"
    with monkeypatch.context() as patch:
        patch.setattr(records_module, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        with pytest.raises(ScantlingError, match=r"the disk is full: 0.00 GB are needed"):
            Store.open(manifest, P, cache)
    write, calls = os.pwrite, []

    def later_full(handle, data, offset):
        calls.append(offset)
        return write(handle, data, offset) if len(calls) < 100 else full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", later_full)
        with pytest.raises(ScantlingError, match="the disk is full"):
            Store.open(manifest, P, cache)
    (folder,) = (cache / "stores").glob("[0-9a-f]*")
    kept = load_records(folder).done()
    assert 0 < kept.sum() < 200
    decoded.clear()
    assert torch.equal(Store.open(manifest, P, cache).data["image"], expected(manifest))
    assert sorted(decoded) == np.flatnonzero(~kept).tolist()


class Means(Derivation):
    """Channel means, a half-precision copy and a flag; counts the images it sees."""

    def __init__(self, scale: float = 1.0) -> None:
        self.settings = {"scale": scale}
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        mean = images.float().mean((2, 3)) * self.settings["scale"]
        return {"mean": mean, "low": images[:, :, :4, :4].to(torch.bfloat16), "bright": mean.sum(1) > 300}


def test_a_derivation_is_computed_once_and_again_when_its_settings_change(tmp_path):
    manifest = write_images(tmp_path)
    cache = tmp_path / "cache"
    first = Means()
    store = Store.open(manifest, P, cache).derive(first, batch_size=4)
    mean = store.data["image"].float().mean((2, 3))
    assert torch.equal(store.data["mean"], mean)
    assert first.seen == 11
    assert torch.equal(store.data["low"], store.data["image"][:, :, :4, :4].to(torch.bfloat16))
    assert store.data["bright"].dtype == torch.bool
    assert torch.equal(store.data["bright"], mean.sum(1) > 300)
    again = Means()
    warm = Store.open(manifest, P, cache).derive(again)
    assert again.seen == 0
    assert torch.equal(warm.data["mean"], mean)
    rows = torch.tensor([7, 2])
    assert torch.equal(warm.gather(rows)["low"], store.data["low"][rows])
    other = Store.open(manifest, P, cache).derive(Means(2.0))
    assert torch.equal(other.data["mean"], 2 * mean)
    for keep in ("memory", "none"):
        batch = open_images(manifest, P, keep).derive(Means()).gather(rows)
        assert torch.equal(batch["mean"], mean[rows])
        assert torch.equal(batch["bright"], store.data["bright"][rows])


def test_a_derivation_that_breaks_off_goes_on_where_it_stopped(tmp_path, monkeypatch):
    manifest = write_images(tmp_path)
    monkeypatch.setattr(records_module, "_CHUNK_ROWS", 3)
    store = Store.open(manifest, P, tmp_path / "cache")

    class Breaks(Means):
        fail = True

        def __call__(self, images):
            if self.fail and self.seen > 6:
                raise KeyboardInterrupt
            return super().__call__(images)

    broken = Breaks()
    with pytest.raises(KeyboardInterrupt):
        store.derive(broken)
    broken.seen, broken.fail = 0, False
    assert torch.equal(store.derive(broken).data["mean"], store.data["image"].float().mean((2, 3)))
    assert broken.seen == 4


def test_derivations_that_cannot_be_kept_are_refused(tmp_path):
    class Returns(Derivation):
        settings = {}

        def __init__(self, name, dtype=torch.float32, extra=0):
            self.name, self.dtype, self.extra = name, dtype, extra

        def __call__(self, images):
            return {self.name: torch.zeros(len(images) + self.extra, dtype=self.dtype)}

    for keep in ("disk", "memory", "none"):
        source = open_images(write_images(tmp_path), P, keep, tmp_path / "cache")
        with pytest.raises(DataError, match="one row an image"):
            source.derive(Returns("x", extra=1))
        with pytest.raises(DataError, match="cannot be called 'image'"):
            source.derive(Returns("image"))
        with pytest.raises(DataError, match="complex64"):
            source.derive(Returns("x", torch.complex64))
        source.derive(Means())
        with pytest.raises(DataError, match="already"):
            source.derive(Means())
    bad = Means()
    bad.settings = {"x": object()}
    with pytest.raises(DataError, match="not plain"):
        Store.open(write_images(tmp_path), P, tmp_path / "cache").derive(bad)


def test_a_store_can_be_listed_measured_and_removed_but_not_while_it_is_built(tmp_path):
    manifest = write_images(tmp_path, masks=True)
    cache = tmp_path / "cache"
    assert stores(cache) == []
    store = Store.open(manifest, P, cache)
    assert Store.size_bytes(manifest, P) == sum(store.data[k].nbytes for k in ("image", "mask")) == 10 * 24 * 24 * 4
    (listed,) = stores(cache)
    assert (listed.key, listed.rows, listed.complete) == (store.key, 10, True)
    assert listed.bytes == store.summary().bytes >= Store.size_bytes(manifest, P)
    assert store.summary().seconds > 0
    holder = run(
        """
        import sys
        from pathlib import Path
        from scantling.data.records import load_records
        with load_records(Path(sys.argv[1])).filling() as filler, filler._claim(0):
            print("held", flush=True)
            sys.stdin.read()
        """,
        store.folder,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DataError, match="being built"):
        remove(store.key, cache)
    holder.kill()
    holder.wait()
    remove(store.key, cache)
    assert stores(cache) == []
    assert torch.equal(store.data["image"], expected(manifest))
    for key in ("../stores", store.key):
        with pytest.raises(DataError, match="no store"):
            remove(key, cache)


def test_frames_of_one_file_are_rows_of_their_own(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images)
    table = pd.DataFrame({"image": ["a.npz#train_images"] * 5, "frame": [4, 0, 1, 2, 3]})
    store = Store.open(Manifest(table, tmp_path), P, tmp_path / "cache")
    assert np.array_equal(store.data["image"].numpy(), images[[4, 0, 1, 2, 3]].transpose(0, 3, 1, 2))


def test_what_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    manifest = write_images(tmp_path)
    with pytest.raises(RecipeError, match="did you mean 'disk'"):
        open_images(manifest, P, "disc")
    with pytest.raises(DataError, match="no rows"):
        Store.open(manifest.select(np.array([], dtype=int)), P, tmp_path / "cache")
    monkeypatch.setattr("scantling.data.store._free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"data\.store: disk"):
        Store.in_memory(manifest, P)


def test_nothing_in_a_store_names_a_file_or_a_patient(tmp_path):
    manifest = write_images(tmp_path)
    folder = Store.open(manifest, P, tmp_path / "cache").folder
    assert "0.png" not in json.dumps(json.loads((folder / "meta.json").read_text()))
    assert b".png" not in (folder / "fingerprints.bin").read_bytes()
