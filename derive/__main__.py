"""python -m derive: the command line."""

import sys

from derive.cli.command import main

sys.exit(main())
