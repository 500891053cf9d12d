"""What is set up wrongly, and what to do about it: checks of the settings, of this process, and of the gateway.

    for finding in heliconnect.diagnose():
        print(finding)

Each check gives findings; none raises for what it finds, and none changes anything.
"""

from __future__ import annotations

from heliconnect.diagnosis.finding import Finding, Level
from heliconnect.diagnosis.run import diagnose

__all__ = ["Finding", "Level", "diagnose"]
