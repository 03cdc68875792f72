"""`python -m kubewitness` is the program."""

import sys

from kubewitness.cli.start import main

sys.exit(main())
