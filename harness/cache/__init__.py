"""From a model to an ExitTable on disk, safely."""
