"""Commands as tests give them."""

from refimpl.cli import main

TRAIN = ["train", "l2hmc", "--theory", "u1", "--beta", "2", "--shape", "4", "4", "--layers", "2", "--chains", "4"]


def run(capsys, *argv):
    """Exit code, standard output, standard error of one command."""
    try:
        code = main(list(argv))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err
