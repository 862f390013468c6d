"""`python -m tideflow_training`."""

import sys

from tideflow_training.cli import main

if __name__ == "__main__":
    sys.exit(main())
