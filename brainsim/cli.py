"""The command line: ``brainsim info``, ``brainsim demo``, ``brainsim fit``, ``brainsim --version``.

What a user got wrong is one line on stderr and exit code 2; an interrupt is one line and exit code 130. Set
``BRAINSIM_TRACEBACK=1`` to see where an error came from.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from ._text import printable
from ._version import __version__

# Heavy modules (jax, matplotlib, the demo) are imported inside the commands, so that --help answers at once.


_FIT_FILES = ("fit.json", "fit.npz", "index.html", "fit_trace.png", "fit_loss.png", "fit_parameters.png")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message + f" (see '{self.prog} --help')")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 2 for wrong input, 130 for an interrupt."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(f"warning: {_one_line(message)}")
        try:
            arguments = _parser().parse_args(argv)
            arguments.run(arguments)
        except KeyboardInterrupt:
            _say("interrupted; nothing was written")
            return 130
        except BrokenPipeError:  # the reader of our output went away, as `brainsim info | head -1` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (ValueError, OSError, ImportError) as error:
            if os.environ.get("BRAINSIM_TRACEBACK") == "1":
                raise
            _say(f"error: {_one_line(error)}")
            return 2
    return 0


def _say(text: str) -> None:
    print(f"brainsim: {printable(text)}", file=sys.stderr)


def _one_line(error: object) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="brainsim", description="brainsim: a differentiable brain simulator.")
    parser.add_argument("--version", action="version", version=f"brainsim {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="{info,demo,fit}", parser_class=_Parser)

    info = commands.add_parser("info", help="versions, devices, what is there, and how to add what is not")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    demo = commands.add_parser(
        "demo",
        help="fit a real neuron, simulate a network, sweep it; writes a page",
        description="Fits a neuron model to a recording of a locust's ear, simulates a network of 4,000 neurons and "
        "sweeps two of its weights. Takes one to two minutes and writes figures, report.json and index.html.",
    )
    demo.add_argument("--out", default="brainsim-demo", metavar="DIR", help="folder to write (default: %(default)s)")
    demo.add_argument("--force", action="store_true", help="replace the demo's files in a folder that is not empty")
    demo.add_argument("--quick", action="store_true", help="a small version of everything, to see that it runs")
    demo.set_defaults(run=_demo)

    _add_fit(commands)
    return parser


def _add_fit(commands) -> None:
    fit = commands.add_parser(
        "fit",
        help="fit a neuron model to a recording",
        description="Fits parameters of a neuron model to a recording by gradient descent from many starts. Writes the "
        "parameters (fit.json), the traces (fit.npz), figures and a page (index.html).",
        epilog='example: brainsim fit cell.csv --model adex --free "g_l=1:50,tau_w=10:500" --free b=0:200 --out cell',
    )
    fit.add_argument(
        "recording", help="an .nwb, .csv, .tsv, .txt or .npz file; names of columns carry units: current_pA"
    )
    fit.add_argument(
        "--model", required=True, help="for a voltage: adex, hh, izhikevich, lif; for spikes: auditory, escape, gif"
    )
    fit.add_argument(
        "--free",
        action="append",
        metavar="NAME=LOW:HIGH,...",
        help="parameters to fit and their bounds; may be repeated",
    )
    fit.add_argument("--fix", action="append", metavar="NAME=VALUE,...", help="values of parameters that stay fixed")
    fit.add_argument("--loss", choices=("voltage", "spikes"), help="what is compared (default: what the model is for)")
    fit.add_argument(
        "--starts", type=int, default=16, metavar="N", help="random starting points (default: %(default)s)"
    )
    fit.add_argument("--steps", type=int, metavar="N", help="at most so many optimisation steps (default: 40)")
    fit.add_argument(
        "--holdout",
        type=float,
        default=0.2,
        metavar="PART",
        help="part at the end kept from the fit (default: %(default)s)",
    )
    fit.add_argument("--dt", type=float, metavar="MS", help="time step of the model (default: that of the recording)")
    fit.add_argument("--seed", type=int, default=0, help="of the starting points (default: %(default)s)")
    fit.add_argument("--out", default="brainsim-fit", metavar="DIR", help="folder to write (default: %(default)s)")
    fit.add_argument("--force", action="store_true", help="replace the fit's files in a folder that is not empty")
    source = fit.add_argument_group("the recording")
    source.add_argument("--sweep", help="NWB: number or name of the sweep")
    source.add_argument("--unit", type=int, help="NWB: id of the unit with the spike times")
    source.add_argument("--spikes", metavar="FILE", help="tables: a file with the spike times (a column spike_time_ms)")
    source.add_argument("--stimulus", metavar="COLUMN", help="the column of a table, or the stimulus of an NWB file")
    source.add_argument("--voltage", metavar="COLUMN", help="tables: the column of the voltage")
    fit.set_defaults(run=_fit)


def _info(arguments: argparse.Namespace) -> None:
    from ._info import info, lines

    if arguments.json:
        import json

        print(json.dumps(info(), indent=2))
    else:
        print("\n".join(lines(info())))


def _demo(arguments: argparse.Namespace) -> None:
    from ._output import Output

    with Output(arguments.out, force=arguments.force, writes=("report.json", "index.html")) as out:
        from ._demo._run import run_demo

        page = run_demo(out.folder, quick=arguments.quick)
    print(printable(f"wrote {out.final / page.name}"))


def _fit(arguments: argparse.Namespace) -> None:
    from ._output import Output

    with Output(arguments.out, force=arguments.force, writes=_FIT_FILES) as out:
        from ._fit_command import run_fit

        for line in run_fit(arguments, out.folder):
            print(line)
    print(printable(f"wrote {out.final / 'index.html'}"))


if __name__ == "__main__":
    sys.exit(main())
