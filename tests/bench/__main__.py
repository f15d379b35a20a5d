"""`make bench`: every figure is a ratio within one run; nothing here is part of the test run."""

import argparse

from tests.bench.startup import measure_startup

BENCHES = {"startup": measure_startup}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="which to run; default: all")
    for name in parser.parse_args().names or BENCHES:
        BENCHES[name]()
