# What type checkers see of the lazy module beside this file. In a stub, ``import *`` makes the names of ``__all__`` public.
from . import dtypes as dtypes
from . import errors as errors
from . import graph as graph
from . import kernels as kernels
from . import train as train
from . import vision as vision
from . import weights as weights
from .dtypes import *
from .errors import *
from .graph.builder import (
    Graph as Graph,
    Operation as Operation,
    Tensor as Tensor,
    control_dependencies as control_dependencies,
    get_default_graph as get_default_graph,
    name_scope as name_scope,
    reset_default_graph as reset_default_graph,
)
from .graph.draw import to_dot as to_dot, to_html as to_html, to_svg as to_svg
from .graph.gradients import gradients as gradients
from .graph.loaders import LoadLimits as LoadLimits
from .graph.ops import *
from .graph.profile import Profile as Profile
from .graph.session import Session as Session
from .kernels.backends import (
    available_backends as available_backends,
    set_backend as set_backend,
    using_backend as using_backend,
)
from .kernels.numerics import using_numerics as using_numerics
from .archive.run import classify_folder as classify_folder
from .classifier import Classified as Classified, Classifier as Classifier, Prediction as Prediction, load as load
from .converting import convert as convert, save as save
from .machine import backend_status as backend_status
from .quantizing import Quantized as Quantized, quantize as quantize
from .retraining import Retrained as Retrained, retrain as retrain
from .saving import save_graph as save_graph
from .train import layers as layers
from .train.model import Model as Model
from .environment import show_versions as show_versions, versions as versions
from .vision.labels import Label as Label, LabelSet as LabelSet
from .vision.normalize import Normalization as Normalization, Preprocessing as Preprocessing
from .weights.cards import Card as Card

__version__: str
