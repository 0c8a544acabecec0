"""What the benchmarks have in common: mistakes, and pages and records to the last letter, those of
measurements made up and those published."""

from __future__ import annotations

import csv
import dataclasses
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import bench_data
import bench_flow
import bench_training
import pytest
import torch
from bench import flow_page, loading, loading_page, run, training, training_page
from bench.cells import BACKENDS, PASSES
from bench.floor import Peaks, floor_of
from bench.memory import Measured, Outcome
from bench.networks import FCF, FLOW, PARTS, RGB
from bench.opencv import SETTINGS
from bench.page import Page, markdown_of
from bench.plan import Plan, build_plan
from bench.timing import csv_of

from repflow_pl.data.index import default_clip
from repflow_pl.profiles import build_profile
from repflow_pl.quartiles import Quartiles
from repflow_pl.report.paper import NOT_KNOWN
from tests.programs import CHECKOUT

GOLDEN = CHECKOUT / "tests" / "golden" / "bench"
PUBLISHED = CHECKOUT / "tables" / "bench"
MISTAKES = {
    bench_flow: {
        "--threads 0": "--threads is a count of 1 or more.",
        "--minutes 0": "--minutes and --patience must be more than 0.",
        "--device tpu": "tpu",
        "--treads 2": "--treads",
    },
    bench_training: {"--minutes 0": "--minutes must be more than 0.", "--device tpu": "tpu"},
    bench_data: {
        "--frames 16,": "--frames takes counts of 1 or more",
        "--workers 0": "--workers takes counts of 1 or more",
        "--decoders ffmpeg": "ffmpeg",
        "--turns 0": "counts of 1 or more",
        "--clips 0": "counts of 1 or more",
        "--data hmdb52": "hmdb52",
    },
}
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PNG = b"\x89PNG"


@pytest.mark.parametrize(
    ("bench", "given"), [(bench, given) for bench in MISTAKES for given in MISTAKES[bench]]
)
def test_mistakes_are_one_sentence(
    bench: Any, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(given.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert MISTAKES[bench][given] in error


# --- made up


def turns(name: str, middle: float, n: int) -> list[float]:
    make = random.Random(name)
    return [middle * make.uniform(0.8, 1.2) for _ in range(n)]


def flow_results(plan: Plan) -> run.Results:
    """Every kind of figure, and every kind of gap: torch.compile's, one cell's, OpenCV's, a
    process that was ended, memory that is not to be trusted."""
    late = "the run's 3 minutes were over"
    timed, memory = [], {}
    for k, cell in enumerate(plan.cells):
        for which in PASSES:
            middle = 1e-7 * cell.elements * cell.n_iter * (3 if which == PASSES[1] else 1)
            if k == 3:
                timed.append(run.Timed(cell, which, {}, dict.fromkeys(BACKENDS, late)))
                continue
            over = {"baseline": 1.0, "eager": 0.3, "fused": 0.011}
            why = {"compile": run.NOT_TRIED}
            if cell == plan.compiled[0]:
                over["compile"], why = 0.1, {}
            if cell.channels == 3 and which == PASSES[0]:
                if k % 2:
                    over |= dict(zip(SETTINGS, (0.2, 2.0), strict=True))
                else:
                    why |= dict.fromkeys(SETTINGS, "cv2 cannot be imported")
            seconds = {b: turns(f"{k} {which} {b}", f * middle, 3 + k) for b, f in over.items()}
            timed.append(run.Timed(cell, which, seconds, why))
    sizes = {"baseline": 300, "eager": 200, "fused": 3}
    for backend, size in sizes.items():
        measured = [
            Measured(cell, which, 3.5 if which == PASSES[0] else 200.0, size * 4 * cell.elements)
            for cell in plan.for_memory
            for which in PASSES
        ]
        memory[backend] = Outcome(tuple(measured))
    memory["eager"] = Outcome(memory["eager"].measured[:5], "it took longer than 9 s")
    refused = [Measured(plan.compiled[0], which, 16.4, None, "it is off") for which in PASSES]
    memory["compile"] = Outcome(tuple(refused), "compiling n_iter 5: it took longer than 50 s")
    return run.Results(plan, Peaks(2e10, 1.5e11), tuple(timed), memory, 171.0)


def loading_results(cached: bool) -> Page:
    clip = default_clip("motion_shapes")
    plan = loading.Plan(clip, (16, 32), (1, 2), ("pyav", "decord"), 200, 8, 5)
    rates = {
        loading.Case(decoder, frames, workers): turns(f"{decoder} {frames} {workers}", 300, 5)
        for frames in plan.frames
        for workers in plan.workers
        for decoder in plan.decoders
    }
    alone = {(f, w): turns(f"{f} {w}", 330, 5) for f in plan.frames for w in plan.workers}
    epochs = (turns("decoded", 400, 5), turns("cached", 2300, 5)) if cached else ([], [])
    results = loading.Results(rates, alone, *epochs, 95.0)
    if cached:
        feeds = [loading.Feed(False, 2), loading.Feed(True, 0), loading.Feed(True, 2)]
        waits = {f: turns(str(f), 0.5 / 10 ** (f.workers * f.kept), 5) for f in feeds}
        memory = {case: 10**8 * case.workers for case in rates}
        results = dataclasses.replace(results, waits=waits, memory=memory)
    return loading_page.page_of(results, plan, "motion_shapes")


def training_results(device: torch.device, memory: bool) -> Page:
    profile = build_profile("demo", "motion_shapes")
    seconds: dict[Any, list[float]] = {}
    for k, network in enumerate((RGB, FLOW, FCF), 1):
        for part, middle in zip(PARTS, (0.2, 0.05, 0.01, 0.03), strict=True):
            if network != RGB or not part.startswith("layer"):
                seconds[network, part] = turns(f"{network} {part}", middle * (1 + 0.2 * k), 15)
    peaks = {network: (k + 1) * 10**8 for k, network in enumerate((RGB, FLOW, FCF))}
    no_peaks = "" if memory else "the high-water mark is off"
    waits = turns("waits", 0.01, 39)
    results = training.Results(
        seconds, peaks if memory else {}, no_peaks, waits, 0 if memory else 3, 59.0
    )
    setting = training.Setting(profile, profile.clip, 16, device, 2)
    return training_page.page_of(results, setting)


def settled(text: str) -> str:
    """Without the day, the machine and the versions."""
    text = re.sub("(?m)^(- Made by `.*` on )[0-9-]+", r"\1TODAY", text)
    text, count = re.subn("(?m)^- Device: .*?((; CPU threads: .+)?); torch .*$", r"- Here\1.", text)
    assert count == 1
    return text


def same(name: str, made: Page, quick: bool = False) -> None:
    """The page and the record are what was kept, which RENEW_GOLDEN in the environment renews."""
    texts = {"md": settled(markdown_of(made, "python it", quick)), "csv": csv_of(made.record)}
    for ending, text in texts.items():
        path = GOLDEN / f"{name}.{ending}"
        if "RENEW_GOLDEN" in os.environ:
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")
    assert made.picture("").startswith(PNG)


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    yield


@pytest.mark.long
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_made_up_pages(device: torch.device) -> None:
    results = flow_results(build_plan(device, quick=False))
    same(f"flow_{device}", flow_page.page_of(results, device, 2))
    on_cpu = device == CPU  # where all is measured: no cache and no memory elsewhere
    same("data" if on_cpu else "data_without", loading_results(cached=on_cpu), quick=not on_cpu)
    same(f"training_{device}", training_results(device, memory=on_cpu), quick=not on_cpu)


# --- published


def records(stem: str) -> list[dict[str, str]]:
    with (PUBLISHED / f"{stem}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def published(stem: str) -> tuple[str, str, list[list[str]]]:
    """A page, the command it names, and its lines of figures."""
    text = (PUBLISHED / f"{stem}.md").read_text("utf-8")
    command = re.search("Made by `(.*)`", text)
    assert command is not None
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return text, command[1], [line for line in cells if re.search("[0-9]", line[-1])]


def spread(line: dict[str, str], name: str) -> Quartiles:
    return Quartiles(
        *(float(line[name + kind]) for kind in ("q25", "median", "q75")), int(line["n"])
    )


def read(cell: str, n: int = 5) -> Quartiles:
    """Of what a page shows as 0.938 (0.932–0.976)."""
    median, low, high = (float(x) for x in re.findall(r"[\d.]+", cell)[:3])
    return Quartiles(low, median, high, n)


def such(found: Quartiles) -> list[float]:
    """An odd number of turns with these quartiles."""
    half = found.n // 2
    assert found.n == 2 * half + 1
    return [found.low] * half + [found.median] + [found.high] * half


def took(text: str) -> float:
    found = re.search(r", in (\d+) (s|min)\.", text)
    assert found is not None
    return float(found[1]) * (60 if found[2] == "min" else 1)


def test_published_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    text, command, cells = published("flow_cpu")
    # A record's four digits of a floor are too few for the three of the ratio to it.
    over = {tuple(line[1:4]): float(line[7]) for line in cells if len(line) == 10}
    plan = build_plan(CPU, quick=False)
    seconds: dict[Any, dict[str, list[float]]] = {}
    ratios, why, memory = {}, {}, {b: Outcome(()) for b in BACKENDS}
    first = {"fused": (12.0, 19.0), "compile": (16.0, 21.0)}
    for line in records("flow_cpu"):
        which, backend = line["pass"], line["backend"]
        (cell,) = (
            c
            for c in plan.cells
            if [c.pairs, c.channels, c.side, c.n_iter]
            == [int(line[name]) for name in ("pairs", "channels", "height", "n_iter")]
        )
        timed = seconds.setdefault((cell, which), {})
        if line["n"] != "0":
            timed[backend] = [float(line["seconds_median"])] * int(line["n"])
            ratios[cell, which, backend] = spread(line, "ratio_")
        if line["not_measured"]:
            why.setdefault((cell, which), {})[backend] = line["not_measured"]
        extra = int(line["extra_bytes"]) if line["extra_bytes"] else None
        if extra or (backend == "compile" and line["n"] != "0"):
            once = first.get(backend, (1.0, 1.0))[which != PASSES[0]]
            both = (*memory[backend].measured, Measured(cell, which, once, extra))
            memory[backend] = Outcome(both)
        work, floor = floor_of(cell, which, Peaks(1.0, 1.0)), "floor_{}_seconds"
        peaks = Peaks(
            work.bytes / float(line[floor.format("bytes")]),
            work.operations / float(line[floor.format("operations")]),
        )
    stopped = why[plan.compiled[1], PASSES[0]]["compile"]
    memory["compile"] = Outcome(memory["compile"].measured, stopped)
    passes = tuple(run.Timed(*at, given, why.get(at, {})) for at, given in seconds.items())
    monkeypatch.setattr(
        run.Timed, "ratio", lambda self, backend: ratios.get((self.cell, self.which, backend))
    )
    monkeypatch.setattr(
        run.Results,
        "floor_ratio",
        lambda self, timed: over[str(timed.cell), str(timed.cell.n_iter), timed.which],
    )
    results = run.Results(plan, peaks, passes, memory, took(text))
    made = flow_page.page_of(results, CPU, 2)
    assert settled(markdown_of(made, command, quick=False)) == settled(text)


@pytest.mark.parametrize(("data", "clips"), [("motion_shapes", 800), ("ut_interaction", 200)])
def test_published_loading(data: str, clips: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text, command, cells = published(f"data_{data}")
    found: dict[Any, list[float]] = {}
    for line in records(f"data_{data}"):
        at = (line["what"], line["decoder"], line["frames"], line["workers"])
        found[at] = such(spread(line, "")) if line["n"] else [float(line["median"])]
    parts = {(c[0], c[1], c[2]): read(c[5]) for c in cells if len(c) == 8}
    rates = {
        loading.Case(decoder, int(frames), int(workers)): values  # type: ignore[arg-type]
        for (what, decoder, frames, workers), values in found.items()
        if what == "loader"
    }
    alone = {(case.frames, case.workers): [1.0] for case in rates}
    alone |= {(int(a[2]), int(a[3])): values for a, values in found.items() if "alone" in a[0]}
    epochs = [found[f"epoch, {name}", "", "", "0"] for name in ("decoded", "cached")]
    monkeypatch.setattr(
        loading.Results,
        "of_floor",
        lambda self, case: parts[case.decoder, str(case.frames), str(case.workers)],
    )
    speedup = re.search(r"cache, (.*) times as many", text)
    assert speedup is not None
    monkeypatch.setattr(loading.Results, "speedup", lambda self: read(speedup[1]))
    plan = loading.Plan(default_clip(data), (16,), (1, 2), ("pyav", "decord"), clips, 8, 5)
    plan = dataclasses.replace(plan, clip=dataclasses.replace(plan.clip, crop=(112, 112)))
    waits = {
        loading.Feed(what == "waits, kept", int(workers)): values
        for (what, _, _, workers), values in found.items()
        if what.startswith("waits")
    }
    memory = {
        case: int(found["bytes", case.decoder, str(case.frames), str(case.workers)][0])
        for case in rates
    }
    results = loading.Results(rates, alone, *epochs, took(text), waits, memory)
    made = loading_page.page_of(results, plan, data)
    assert settled(markdown_of(made, command, quick=False)) == settled(text)


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_published_training(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    text, command, cells = published(f"training_{device}")
    shown = {line[0]: line for line in cells}
    seconds: dict[Any, list[float]] = {}
    peaks = {}
    waits: list[float] = []
    for line in records(f"training_{device}"):
        values = such(spread(line, "seconds_"))
        if line["part"] == "wait":
            waits = values
        else:
            seconds[line["network"], line["part"]] = values
        if line["peak_bytes"]:
            peaks[line["network"]] = int(line["peak_bytes"])

    def shares(_: object, network: str) -> tuple[Quartiles, ...] | None:
        found = [read(cell) for cell in shown[network][4:6] if cell != NOT_KNOWN]
        return (
            tuple(Quartiles(s.low / 100, s.median / 100, s.high / 100, s.n) for s in found) or None
        )

    more = re.search(r"adds (.*) to a training", text)
    assert more is not None
    added = [float(x) / 100 for x in re.findall(r"[\d.]+", more[1])[:3]]
    for name, value in (
        ("shares", shares),
        ("ratio", lambda _, network, part: read(shown[network][2])),
        ("added", property(lambda _: Quartiles(added[1], added[0], added[2], 15))),
        (
            "clips_per_second",
            lambda _, network, part, batch: read(shown[network][1 if part == "train" else 3]),
        ),
    ):
        monkeypatch.setattr(training.Results, name, value)
    profile = build_profile("demo" if device == CPU else "paper", "motion_shapes")
    setting = training.Setting(
        profile, profile.clip, profile.recipe.batch, device, 2 if device == CPU else 8
    )
    results = training.Results(seconds, peaks, "", waits, 0, took(text))
    rendered = settled(markdown_of(training_page.page_of(results, setting), command, quick=False))
    # What was added to a page by hand is its last sentence.
    assert re.sub("(?m)^- Commit: .*\n", "", settled(text)) == rendered
