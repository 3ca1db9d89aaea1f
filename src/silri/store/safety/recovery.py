"""What opening a dataset folder does: verify every episode, set the bad aside, close the gaps.

An episode counts if and only if its row in ``meta/episodes`` is in place and both checksums
hold. Each repair is either one atomic step or can be interrupted anywhere and done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from silri.core.errors import DataError
from silri.store.format.info import info_rate, read_info
from silri.store.format.layout import DATA_PATH, FILES_PER_CHUNK, ROW_PATH, SILRI_FORMAT, file_path
from silri.store.format.lerobot import diagnostics_of, frame_rate, move_frames, peek
from silri.store.format.numbers import frame_statistics
from silri.store.format.rows import EpisodeRow, decode_row, encode_row, lacks_origin
from silri.store.format.sealed import digest
from silri.store.safety import files
from silri.store.safety.quarantine import Quarantine, Quarantined


@dataclass
class Found:
    """What lies at one index of the folder; the contents are None where there is no file."""

    index: int
    data: bytes | None
    row_file: bytes | None
    row: EpisodeRow | None
    problem: str | None


def recover(
    folder: Path, quarantine: Quarantine, fps: float, diagnostics: tuple[str, ...]
) -> tuple[list[EpisodeRow], list[str]]:
    """Bring ``folder`` into order.

    Args:
        folder: the dataset; this process holds its lock.
        quarantine: where the bad goes.
        fps: see :func:`~silri.store.format.lerobot.encode_frames`.
        diagnostics: likewise.

    Returns:
        The rows of all sound episodes, and what a person should know about the others.
    """
    messages = [*quarantine.messages, *_clear_unfinished(folder, quarantine)]
    rows = _read_rows(folder)
    claimed = {row.episode_id for _, row, _ in rows.values() if row is not None}
    kept: list[EpisodeRow] = []
    rewritten = migrated = modern = 0
    for found in _scan(folder, rows):
        seen = {row.episode_id for row in kept}
        if found.row is not None and found.problem is None:
            if found.row.episode_id in seen:
                # The source of a renumbering that was interrupted.
                remove_episode(folder, found.index)
            else:
                kept.append(_renumber(folder, found, kept, fps, diagnostics))
                old = found.row_file is not None and lacks_origin(found.row_file)
                migrated += old
                rewritten += _restore_row(folder, kept[-1]) and not old
                if _is_old(folder, kept[-1]):
                    kept[-1] = _bring_up_to_date(folder, kept[-1], fps, diagnostics)
                    modern += 1
            continue
        messages += _set_aside(folder, quarantine, found, seen, claimed)
    if migrated:
        messages.append(
            f"{migrated} row files of meta/episodes brought to silri_format {SILRI_FORMAT}: they "
            "have a column for the episode's origin now"
        )
    if modern:
        messages.append(
            f"{modern} data files brought to silri_format {SILRI_FORMAT}: no NaN where nobody "
            "drove or nothing was reported, and statistics of every column"
        )
    if rewritten:
        messages.append(
            f"{rewritten} row files of meta/episodes rewritten: their values hold, but other bytes "
            "were damaged, or another version of pyarrow wrote them"
        )
    expected = set(range(1 + max([*quarantine.episodes, *(row.episode_id for row in kept), -1])))
    missing = expected - quarantine.episodes.keys() - {row.episode_id for row in kept}
    if missing:
        messages.append(f"episodes {sorted(missing)} are in neither {folder} nor the quarantine")
    return kept, messages


def recorded_rate(folder: Path) -> float | None:
    """Frames per second of the episodes that are stored in ``folder``; None if nothing says."""
    info = read_info(folder) or {}
    if info.get("total_episodes") and (rate := info_rate(info)):
        return rate
    for found in scan(folder):
        if found.problem is None and found.data is not None and (rate := frame_rate(found.data)):
            return rate
    return None


def _clear_unfinished(folder: Path, quarantine: Quarantine) -> list[str]:
    """Set half-written frames aside; drop half-written files that can be derived again."""
    messages = []
    for path in sorted(folder.rglob("*" + files.TEMPORARY)):
        if path.is_relative_to(folder / "data") and not _announced(folder, path):
            content = {"data.parquet": path.read_bytes()}
            place = quarantine.add_stray("a write of frames that was interrupted", content)
            messages.append(f"unfinished {path.relative_to(folder)} set aside in {place}")
        files.remove(path)
    return messages


def _announced(folder: Path, unfinished: Path) -> bool:
    """Whether a half-written data file is one of :func:`_bring_up_to_date`: made again from it."""
    relative = unfinished.relative_to(folder / "data").with_suffix("")  # without ".tmp"
    row_path = folder / "meta" / "episodes" / relative
    try:
        return bool(decode_row(row_path.read_bytes(), str(row_path)).next_sha256)
    except (DataError, OSError):
        return False


def _read_rows(folder: Path) -> dict[int, tuple[bytes, EpisodeRow | None, str | None]]:
    """Every row file by index: its content, and the row or what is wrong with it."""
    rows: dict[int, tuple[bytes, EpisodeRow | None, str | None]] = {}
    for index in indices_of(folder, ROW_PATH):
        name = file_path(ROW_PATH, index)
        content = (folder / name).read_bytes()
        try:
            row = decode_row(content, name)
        except DataError as error:
            rows[index] = (content, None, str(error))
            continue
        moved = row.episode_index != index
        rows[index] = (content, row, f"{name} was moved or renamed" if moved else None)
    return rows


def scan(folder: Path) -> Iterator[Found]:
    """Everything in the folder, in order of its index, judged; nothing is changed."""
    return _scan(folder, _read_rows(folder))


def _scan(
    folder: Path, rows: dict[int, tuple[bytes, EpisodeRow | None, str | None]]
) -> Iterator[Found]:
    missing = (None, None, "its row in meta/episodes is missing")
    for index in sorted({*indices_of(folder, DATA_PATH), *rows}):
        content, row, problem = rows.get(index, missing)
        name = file_path(DATA_PATH, index)
        data = (folder / name).read_bytes() if (folder / name).exists() else None
        if problem is None and data is None:
            problem = f"{name} is missing"
        elif problem is None and row is not None and not row.matches(data or b""):
            problem = f"{name} does not match its checksum"
        yield Found(index, data, content, row, problem)


def _renumber(
    folder: Path, found: Found, kept: list[EpisodeRow], fps: float, diagnostics: tuple[str, ...]
) -> EpisodeRow:
    """Close the gap before a sound episode: LeRobot needs consecutive episodes and frames."""
    row, data = found.row, found.data
    if row is None or data is None:
        raise DataError(f"episode {found.index} of {folder} cannot move: it is not whole")
    index = len(kept)
    if found.index == index:  # so is everything before it, and its frames are in place too
        return row
    first_frame = kept[-1].first_frame + kept[-1].steps if kept else 0
    moved = replace(row, episode_index=index, first_frame=first_frame)
    frames = move_frames(data, moved, fps, diagnostics)
    moved = _describing(moved, frames)
    write_episode(folder, moved, frames)
    remove_episode(folder, found.index)
    return moved


def _describing(row: EpisodeRow, frames: bytes) -> EpisodeRow:
    """``row`` for the data file ``frames`` of the same episode."""
    stats = frame_statistics(frames, row.stats)
    return replace(row, stats=stats, data_sha256=digest(frames), next_sha256="")


def _is_old(folder: Path, row: EpisodeRow) -> bool:
    """Whether the episode's files are of an earlier format, or half of them."""
    _, header = peek(folder / file_path(DATA_PATH, row.episode_index))
    return bool(row.next_sha256) or header.get("silri_format", 1) < SILRI_FORMAT


def _bring_up_to_date(
    folder: Path, row: EpisodeRow, fps: float, diagnostics: tuple[str, ...]
) -> EpisodeRow:
    """Rewrite an episode where it is; between any two writes its row fits its data file."""
    data = (folder / file_path(DATA_PATH, row.episode_index)).read_bytes()
    schema, _ = peek(data)
    known = diagnostics_of(schema) if schema is not None else set()
    frames = move_frames(data, row, fps, {*diagnostics, *known})
    row_path = folder / file_path(ROW_PATH, row.episode_index)
    announced = replace(row, data_sha256=digest(data), next_sha256=digest(frames))
    files.atomic_write(row_path, encode_row(announced))
    files.atomic_write(folder / file_path(DATA_PATH, row.episode_index), frames)
    finished = _describing(row, frames)
    files.atomic_write(row_path, encode_row(finished))
    return finished


def _restore_row(folder: Path, row: EpisodeRow) -> bool:
    """Mend what the row's own checksum cannot see: parquet has bytes that carry no value."""
    path = folder / file_path(ROW_PATH, row.episode_index)
    content = encode_row(row)
    damaged = path.read_bytes() != content
    if damaged:
        files.atomic_write(path, content)
    return damaged


def write_episode(folder: Path, row: EpisodeRow, frames: bytes) -> None:
    """Frames first, then the row that makes them count."""
    for pattern, content in ((DATA_PATH, frames), (ROW_PATH, encode_row(row))):
        path = folder / file_path(pattern, row.episode_index)
        files.make_dir(path.parent)
        files.atomic_write(path, content)


def _set_aside(
    folder: Path, quarantine: Quarantine, found: Found, seen: set[int], claimed: set[int]
) -> list[str]:
    """Copy into quarantine, then delete; says what happened."""
    contents = {
        name: content
        for name, content in (("data.parquet", found.data), ("row.parquet", found.row_file))
        if content is not None
    }
    messages = []
    # Held already: the last opening copied it and was killed before it deleted.
    if not all(quarantine.holds(content) for content in contents.values()):
        lost = _identify(found, quarantine, seen, claimed)
        if lost is None:
            place = quarantine.add_stray("frames of an episode that was never committed", contents)
            messages.append(f"orphan {file_path(DATA_PATH, found.index)} set aside in {place}")
        else:
            place = quarantine.add_episode(lost, contents)
            messages.append(
                f"episode {lost.episode_id} ({lost.steps} steps) set aside in {place}: "
                f"{lost.reason}"
            )
    remove_episode(folder, found.index)
    return messages


def _identify(
    found: Found, quarantine: Quarantine, seen: set[int], claimed: set[int]
) -> Quarantined | None:
    """Which episode of the run was damaged; None if these frames never counted."""
    problem = found.problem or "damaged"
    taken = seen | quarantine.episodes.keys() | claimed
    if found.row is not None:
        row = found.row
        known = row.episode_id in seen or row.episode_id in quarantine.episodes
        fields = (row.episode_id, row.steps, problem, row.is_demo, row.origin)
        return None if known else Quarantined(*fields)
    header = peek(found.data)[1] if found.data is not None else {}
    if found.row_file is None:
        # Frames alone: the commit under way when the process died, or a copy of a renumbering,
        # unless an episode with a later number was committed: then this one had its row once.
        number = header.get("episode_id")
        if number is None or number in taken or number > max(taken, default=-1):
            return None
        origin = header.get("origin", "")
        return Quarantined(number, header["steps"], problem, header["is_demo"], origin)
    number = header.get("episode_id")
    if number is None or number in taken:  # neither file can say: the first number after the last
        number = min(set(range(max(seen, default=-1) + 1, len(taken) + 1)) - taken, default=None)
        number = max(taken, default=-1) + 1 if number is None else number
    steps, is_demo = header.get("steps", 0), header.get("is_demo", False)
    return Quarantined(number, steps, problem, is_demo, header.get("origin", ""))


def remove_episode(folder: Path, index: int) -> None:
    """Row first: what has no row does not count. What is not there is fine."""
    for pattern in (ROW_PATH, DATA_PATH):
        path = folder / file_path(pattern, index)
        for each in (path, files.temporary(path)):
            if each.exists():
                files.remove(each)
                files.sync_dir(path.parent)


def indices_of(folder: Path, pattern: str) -> list[int]:
    """Indices of the files that follow ``pattern``."""
    root = folder / pattern.split("/chunk-", maxsplit=1)[0]
    indices = []
    for path in root.glob("chunk-*/file-*.parquet"):
        chunk, file = path.parent.name.removeprefix("chunk-"), path.stem.removeprefix("file-")
        if chunk.isdecimal() and file.isdecimal():
            index = int(chunk) * FILES_PER_CHUNK + int(file)
            if folder / file_path(pattern, index) == path:
                indices.append(index)
    return indices
