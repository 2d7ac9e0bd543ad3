"""The command line where names, folders, disks and signals are not as one would like them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.archive import plan
from pyenhance.cli import main
from pyenhance.commands.terminal import shown
from pyenhance.files import reading

from ..conftest import PATIENCE_S, ROOT, av_file

NOISE = np.random.default_rng(0).normal(0, 0.1, 9600)


def _wav(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), NOISE, 48_000, format="WAV")
    return path


def _denoise(*arguments: Path | str) -> int:
    return main(["denoise", *map(str, arguments)])


def test_a_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = _wav(tmp_path / os.fsdecode(b"m\xe0\n.wav")), tmp_path / os.fsdecode(b"o\xe0.wav")
    assert _denoise(source, "-o", target) == 0
    assert soundfile.info(os.fsencode(target)).frames == len(NOISE)
    assert r"m\xe0\n.wav -> " in capsys.readouterr().out
    assert _denoise(source, "-o", target, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["output"] == str(target)
    assert _denoise(target, "-o", target) == 2
    assert r"o\xe0.wav would be written over itself" in capsys.readouterr().err


def test_such_a_name_on_a_terminal_of_ascii(tmp_path: Path) -> None:
    _wav(tmp_path / os.fsdecode(b"m\xe0\xc3\xa9.wav"))
    done = subprocess.run(
        [sys.executable, "-m", "pyenhance.cli", "denoise", ".", "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and rb"m\xe0\xe9.wav ->" in done.stdout, done.stderr


def test_shown() -> None:
    assert shown("a\x1b[2Jb\udce0é\n") == "a\\x1b[2Jb\\xe0é\\n"


@pytest.mark.parametrize("size", [242, 255])
def test_the_longest_names(tmp_path: Path, size: int) -> None:
    target = tmp_path / ("x" * (size - 4) + ".wav")
    assert _denoise(_wav(tmp_path / "a.wav"), "-o", target, "--quiet") == 0
    assert target.exists()


def test_a_name_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _denoise(_wav(tmp_path / "a.wav"), "-o", tmp_path / ("x" * 252 + ".wav"), "--quiet") == 1
    assert "File name too long" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_links_that_lead_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _wav(tmp_path / "in" / "a.wav").parent
    (folder / "l").symlink_to("l")
    (folder / "gone.wav").symlink_to("nothing.wav")
    (folder / "notes").symlink_to("nothing")
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to("../elsewhere")
    assert _denoise(folder, "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert f"{folder}/l: Too many levels of symbolic links" in said
    assert f"{folder}/gone.wav: No such file or directory" in said
    assert "2 left out, no audio by name: 1 link to a folder, 1 no suffix" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.wav"]


def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any user but root meets it."""
    _wav(tmp_path / "in" / "a.wav")
    _wav(tmp_path / "in" / "closed" / "b.wav")
    original = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, os.strerror(13), str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    made = plan([tmp_path / "in"], tmp_path / "out")
    assert len(made.jobs) == 1 and made.problems == [(tmp_path / "in" / "closed", "Permission denied")]


def test_the_output_may_be_above_the_input(tmp_path: Path) -> None:
    source = _wav(tmp_path / "in" / "day" / "a.wav")
    assert _denoise(source.parent.parent, "-o", tmp_path, "--quiet") == 0
    assert (tmp_path / "day" / "a.wav").is_file()


def test_what_a_folder_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every container that is read when it is named is taken from a folder too."""
    folder = tmp_path / "in"
    folder.mkdir()
    suffixes = ["wav", "flac", "ogg", "opus", "mp3", "aiff", "caf", "w64", "au", "rf64"]
    for suffix in suffixes:
        kind = {"opus": "OGG"}.get(suffix, suffix.upper())
        soundfile.write(folder / f"{suffix}.{suffix}", NOISE, 48_000, format=kind)
    av_file(folder / "talk.m4a", "aac", NOISE)
    av_file(folder / "same.m4a", "aac", NOISE)
    soundfile.write(folder / "same.flac", NOISE, 48_000)
    (folder / "notes.txt").write_text("no sound")
    (folder / ".hidden.wav").write_bytes(b"")
    assert _denoise(folder, "-o", tmp_path / "out") == 0
    want = {f"{s}.{s}" for s in suffixes} | {"talk.flac", "same.flac", "same.m4a.flac"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == want
    said = capsys.readouterr()
    assert "1 left out, no audio by name: 1 .txt" in said.err and "13 files done" in said.out


def test_a_folder_without_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("no sound")
    assert _denoise(tmp_path / "m", "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}/m: no audio files in it; accepted: " in said and ".wav" in said and "1 .txt" in said
    assert _denoise(tmp_path / "m", _wav(tmp_path / "a.wav"), "-o", tmp_path / "out", "--json") == 1
    files = json.loads(capsys.readouterr().out)["files"]
    assert ["error" in file for file in files] == [False, True] and (tmp_path / "out" / "a.wav").exists()


def test_m4a_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").mkdir()
    av_file(tmp_path / "m" / "talk.m4a", "aac", NOISE)
    monkeypatch.setitem(sys.modules, "av", None)
    assert not reading.can_read_av()
    assert _denoise(tmp_path / "m", "-o", tmp_path / "out") == 1
    assert "talk.m4a: such a file needs PyAV: pip install 'pyenhance[audio]'" in capsys.readouterr().err


def test_the_system_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _wav(tmp_path / "a.wav")
    assert _denoise(tmp_path / "nosuch.wav", "-o", tmp_path / "x.wav") == 1
    assert capsys.readouterr().err == f"pyenhance denoise: {tmp_path}/nosuch.wav: No such file or directory\n"
    original = os.open

    def refused(path: Path, *options: int) -> int:
        if Path(path).parent == tmp_path:
            raise PermissionError(13, os.strerror(13), str(path))
        return original(path, *options)

    monkeypatch.setattr(os, "open", refused)
    assert _denoise(source, "-o", tmp_path / "x.wav") == 1
    assert capsys.readouterr().err == f"pyenhance denoise: {source}: Permission denied: {tmp_path}/x.wav\n"
    monkeypatch.undo()
    assert _denoise(source, "-o", source / "x.wav") == 1
    assert "Not a directory" in capsys.readouterr().err
    if Path("/dev/full").exists():
        (tmp_path / "b.wav").write_bytes(b"")
        assert _denoise(tmp_path / "b.wav", "-o", tmp_path / "x.wav") == 1
        assert "the file is empty" in capsys.readouterr().err


def test_no_message_names_a_temporary_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _wav(tmp_path / "a.wav")
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    for arguments in (
        (source, "-o", tmp_path / "o.mp2"),
        (source, "-o", tmp_path / "folder.d" / "o.svx8"),
        (tmp_path / "bad.wav", "-o", tmp_path / "o.wav"),
    ):
        assert _denoise(*arguments) == 1
        said = capsys.readouterr().err
        assert ".pyenhance" not in said and "object at" not in said and "tmp." not in said, said


# Signals


def _start(folder: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pyenhance.cli", "denoise", "in", "-o", "out", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where a shell has started the tests in the background they ignore Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for_work(process: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (out.is_dir() and any(out.glob(".*.part"))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """Recordings that take long enough."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "in" / f"{name}.wav", np.tile(NOISE, 5 * 600), 48_000)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_one_line_and_no_file(hours: Path, number: signal.Signals) -> None:
    process = _start(hours)
    _wait_for_work(process, hours / "out")
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number and out == ""
    assert err.count("\n") == 1 and "interrupted" in err, err
    assert list((hours / "out").iterdir()) == []


@pytest.mark.parametrize("everyone", [False, True], ids=["command", "group"])
def test_a_signal_and_dask(hours: Path, everyone: bool) -> None:
    """To the command alone, as from `kill`, and to its workers too, as from a terminal."""
    process = _start(hours, "--cluster", "local:2")
    _wait_for_work(process, hours / "out")
    if everyone:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert err.count("\n") == 1 and "interrupted" in err, err
    assert list((hours / "out").iterdir()) == []
    assert _gone(process.pid), "processes of the cluster are left"


def test_a_worker_that_dies_leaves_nothing(hours: Path) -> None:
    """The kernel ended it, for want of memory say: others do its work, and what it had begun is removed."""
    for name in "ab":
        soundfile.write(hours / "in" / f"{name}.wav", np.tile(NOISE, 5 * 60), 48_000)
    process = _start(hours, "--cluster", "local:2")
    _wait_for_work(process, hours / "out")
    os.kill(_children(process.pid)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert sorted(p.name for p in (hours / "out").iterdir()) == ["a.wav", "b.wav"]


def _gone(group: int) -> bool:
    """Whether a group of processes ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _children(pid: int) -> list[int]:
    """Processes that Python's multiprocessing has started for a process, the oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)
