"""A program for tests: runs the small commands given as JSON `{name: argv}` the way `loadgen up` runs its parts."""

import json
import os
import sys

from loadgen.stack.plan import Part
from loadgen.stack.run import run_parts

if __name__ == "__main__":
    parts = [Part(name, tuple(argv)) for name, argv in json.loads(sys.argv[1]).items()]
    sys.exit(run_parts(parts, os.environ, sys.stdout, "ALL READY"))
