# The names that each module's __all__ lists; in a stub, ``import *`` makes them public.
from .array import *
from .core import *
from .finding import *
from .indexing import *
from .image import *
from .losses import *
from .math import *
from .nn import *
from .special import *
