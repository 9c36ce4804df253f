"""Writes the tables of README.md (here and in the root) and docs/images/speed.png from results/*.json.

python benchmarks/table.py            # rewrite what is between the markers
python benchmarks/table.py --check    # exit code 1 if they are out of date (the plot is not compared)
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from _report import HERE, RESULTS

ROOT = HERE.parent
TITLES = dict(coba="COBA", cuba="CUBA", coba_hh="COBA-HH", brunel="Brunel")
METHODS = dict(exponential_euler="exponential Euler", euler="Euler", rk4="RK4", rkf45="RKF45", exact="exact")
SIMULATORS = dict(brainsim="brainsim", brian2="Brian2", brainpy="BrainPy", nest="NEST")


def results() -> list[dict[str, Any]]:
    """What was measured, by benchmark and size."""
    order = [*TITLES, "operators", "compile", "sweep"]
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    found = [r for r in found if r["benchmark"] in order]
    size = lambda r: min((int(n) for n in r.get("network", {}) if n.isdigit()), default=0)
    return sorted(found, key=lambda r: (order.index(r["benchmark"]), size(r)))


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """Two or three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else f"{value:.2g}"


def entries(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each size, simulator and method of a network's result; ratios are of processor times."""
    found = []
    for size, network in result["network"].items():
        per_second = 1e3 / network["duration_ms"]
        reference = None  # brainsim's first method
        for simulator, methods in result["median_s"].items():
            for method, by_size in methods.items():
                if size in by_size:
                    at = lambda table, s=simulator, m=method, n=size: table[s][m][n]
                    processor = at(result["processor_s"]) * per_second
                    first = reference is None
                    reference = reference or processor
                    name, dtype = method.split()
                    found.append(dict(
                        network=TITLES[result["benchmark"]], neurons=int(size), simulator=SIMULATORS[simulator],
                        method=METHODS[name], dtype=dtype, wall=by_size[size] * per_second, processor=processor,
                        ratio=processor / reference, first=first,
                        **{name: at(values) for name, values in result["statistics"].items()},
                    ))  # fmt: skip
    return found


def networks(found: list[dict[str, Any]]) -> str:
    head = [
        "network",
        "neurons",
        "simulator",
        "method",
        "type",
        "wall s",
        "processor s",
        "ratio",
        "E Hz",
        "I Hz",
        "CV of E",
    ]
    rows = []
    for result in found:
        for e in entries(result):
            cv = e["cv_isi"]["E"]
            rows.append([
                e["network"], f"{e['neurons']:,}", e["simulator"], e["method"], e["dtype"], number(e["wall"]),
                number(e["processor"]), number(e["ratio"]) if e["simulator"] != "brainsim" else "",
                f"{e['rates_hz']['E']:.1f}", f"{e['rates_hz']['I']:.1f}", f"{cv:.2f}" if cv else "",
            ])  # fmt: skip
    return markdown(head, rows)


def operators(result: dict[str, Any]) -> str:
    layouts = [(library, layout) for library, them in result["median_s"].items() for layout in them]
    rows = []
    for label, case in result["statistics"].items():
        cells = [result["ns_per_event"][library][layout].get(label) for library, layout in layouts]
        above = result["ns_per_event_above_silence"]["brainsim"]["CSR, weights"][label]
        rows.append([label, f"{case['events_per_call']:,.0f}", number(above), *(number(c) if c else "" for c in cells)])
    head = ["matrix", "events", "above silence", *(f"{library}: {layout}" for library, layout in layouts)]
    return markdown(head, rows)


def compilation(result: dict[str, Any]) -> str:
    phases = dict(loading="import", build="build", first="first call", second="second call", compile="compile")
    rows = [
        [TITLES.get(network, "64 projections"), SIMULATORS[simulator],
         *(number(took[f"{p}_processor_s"]) if f"{p}_processor_s" in took else "" for p in phases)]
        for network, simulators in result["median_s"].items()
        for simulator, took in simulators.items()
    ]  # fmt: skip
    return markdown(["network", "simulator", *phases.values()], rows)


def sweep(result: dict[str, Any]) -> str:
    ratios = result["processor_ratio"]
    rows = [
        [name, number(s), number(result["processor_s"][name]), number(ratios[name]) if name in ratios else ""]
        for name, s in result["median_s"].items()
    ]
    return markdown(["way", "wall s", "processor s", "times faster"], rows)


def where(*results: dict[str, Any]) -> str:
    """On which machine, how busy, when and at which commit, said once for all results of which it holds."""
    said: dict[str, list[str]] = {}
    for result in results:
        machine, others = result["machine"], round(result["machine"]["load"][0])
        busy = f"{others} other processes at the time" if others >= 2 else "nothing else running"
        said.setdefault(f"{machine['cpu']}, one of {machine['cores']} cores; {result['date']}", []).append(
            f"commit `{result['commit']}`, {busy}"
        )
    return "; ".join(f"{machine}: {'; '.join(dict.fromkeys(commits))}" for machine, commits in said.items())


def full(found: list[dict[str, Any]]) -> str:
    """The tables of benchmarks/README.md."""
    nets = [r for r in found if r["benchmark"] in TITLES]
    parts = [networks(nets)] if nets else []
    parts += (
        ["\n".join(f"- {TITLES[r['benchmark']]} {', '.join(r['network'])}: {where(r)}" for r in nets)] if nets else []
    )
    titles = dict(
        operators=(operators, "**Operators**, ns per synaptic event"),
        compile=(compilation, "**Before the first result**, processor seconds; COBA has 4,000 neurons"),
        sweep=(sweep, "**Sweep** of 64 parameter sets of COBA with 1,000 neurons, 1 s each"),
    )
    for result in found:
        if result["benchmark"] in titles:
            table, title = titles[result["benchmark"]]
            parts += [f"{title}. {where(result)}.", table(result)]
    return "\n\n".join(parts)


def short(found: list[dict[str, Any]]) -> str:
    """The table of the root's README: one line for each size of COBA, one column for each simulator and method."""
    columns: dict[str, None] = {}
    rows: dict[str, dict[str, str]] = {}
    for result in found:
        for e in entries(result):
            if e["simulator"] != "brainsim" or e["first"]:
                column = f"{e['simulator']}, {e['method']}"
                ratio = "" if e["first"] else f" ({number(e['ratio'])} x)"
                columns[column] = None
                line = rows.setdefault(f"{e['network']}, {e['neurons']:,} neurons", {})
                line[column] = f"{number(e['processor'])} s{ratio}"
    table = markdown(["", *columns], [[name, *(line.get(c, "") for c in columns)] for name, line in rows.items()])
    return (
        f"{table}\n\nProcessor time for one second of the network and, in brackets, over brainsim's. {where(*found)}."
    )


def replace(path: Path, text: str) -> str:
    """The file with `text` between its markers."""
    begin, end = "<!-- speed: begin -->", "<!-- speed: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    old = path.read_text()
    if not pattern.search(old):
        raise SystemExit(f"{path} has no {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old)


def plot(found: list[dict[str, Any]], path: Path) -> None:
    """Processor seconds per second of the network, a panel for each network and size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    panels: dict[str, list] = {}
    for result in found:
        if result["benchmark"] in TITLES:
            for e in entries(result):
                panels.setdefault(f"{e['network']}, {e['neurons']:,} neurons", []).append(e)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 2.4 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, them) in zip(axes.flat, panels.items(), strict=False):
        them = sorted(them, key=lambda e: -e["processor"])
        for i, e in enumerate(them):
            axis.plot(e["processor"], i, "o", color="#c0392b" if e["simulator"] == "brainsim" else "#7f8c8d")
            axis.annotate(number(e["processor"]), (e["processor"], i), (6, -2), textcoords="offset points", fontsize=7)
        axis.set_yticks(range(len(them)), [f"{e['simulator']}, {e['method']}" for e in them])
        axis.grid(axis="x", alpha=0.3)
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(0.15)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("processor seconds per second of the network, one core", fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    found = results()
    pages = {HERE / "README.md": full(found), ROOT / "README.md": short([r for r in found if r["benchmark"] == "coba"])}
    new = {path: replace(path, text) for path, text in pages.items()}
    if args.check:
        stale = [str(path) for path, text in new.items() if text != path.read_text()]
        print("\n".join(f"out of date: {path}" for path in stale), file=sys.stderr)
        sys.exit(1 if stale else 0)
    for path, text in new.items():
        path.write_text(text)
    plot(found, ROOT / "docs" / "images" / "speed.png")


if __name__ == "__main__":
    main()
