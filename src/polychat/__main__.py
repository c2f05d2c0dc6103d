"""``python -m polychat``."""

import sys

from .cli import main

sys.exit(main())
