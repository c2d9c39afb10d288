"""python -m derive: the command line."""

import sys

from derive.tools.cli.command import main

sys.exit(main())
