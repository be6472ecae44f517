"""The tests of the model use the recorder of the decoder's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "glibc"))
