"""`python -m heliconnect.server.dataplane CONFIG_JSON`: one data plane process."""

from __future__ import annotations

import sys

from heliconnect.server.dataplane.config import Config
from heliconnect.server.dataplane.plane import run

if __name__ == "__main__":
    sys.exit(run(Config.from_json(sys.argv[1])))
