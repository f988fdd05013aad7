"""The official weight files that kigraph knows: facts that their publishers and users have published.

A checksum is listed only if it is public and confirmed by independent users of the file. Where there is none, the file is
taken over TLS, its size is checked, and its SHA-256 is recorded at the first download and compared from then on.
"""

from __future__ import annotations

from ..errors import WeightsError
from ..kernels.records import dataclass

__all__ = ["CATALOGUE", "DEFAULT", "DEMO", "REMEDY", "UNTRAINED", "Entry", "catalogue_entry", "is_known_size"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One downloadable weight file.

    ``size`` and ``sha256`` describe what is downloaded. If that is an archive, ``member`` is the one file taken out
    of it, of ``member_size`` bytes where known.
    """

    name: str
    title: str
    url: str
    size: int | None
    sha256: str | None
    filename: str
    licence: str
    member: str | None = None
    member_size: int | None = None
    card: str | None = None
    note: str = ""

    @property
    def checked_by(self) -> str:
        """How a download of this file is verified, in words."""
        if self.sha256:
            return "SHA-256"
        return "TLS and size; SHA-256 recorded at the first download" if self.size else "TLS; SHA-256 recorded"


_TENSORFLOW = "https://storage.googleapis.com/download.tensorflow.org/models"
_APACHE = "Apache-2.0"

#: What commands use by default.
DEFAULT = "inception-v3-2015"

#: The name of the small model that comes with kigraph: apples or oranges. It answers to this name only.
DEMO = "demo"

#: What to do where there are no weights.
REMEDY = (
    "name a weight file with --weights FILE or KIGRAPH_WEIGHTS=FILE, download one with `kigraph weights fetch`, "
    f"or take the small demo model, which knows apples and oranges only, with --weights {DEMO}"
)

#: How results of the demo's generated file are labelled everywhere.
UNTRAINED = "untrained weights: the speed is real, the labels mean nothing"

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        name="inception-v3-2015",
        title="Inception v3, TensorFlow's first release: JPEG decoding in the graph, 1008 outputs",
        url=f"{_TENSORFLOW}/image/imagenet/inception-2015-12-05.tgz",
        size=88_931_400,
        sha256=None,
        filename="classify_image_graph_def.pb",
        member="classify_image_graph_def.pb",
        member_size=95_673_916,
        licence=_APACHE,
        card="inception-v3-2015",
    ),
    Entry(
        name="inception-v3-2016",
        title="Inception v3, TensorFlow slim: 1001 outputs",
        url=f"{_TENSORFLOW}/inception_v3_2016_08_28_frozen.pb.tar.gz",
        size=88_668_554,
        sha256="7045b72a954af4dce36346f478610acdccbf149168fa25c78e54e32f0c723d6d",
        filename="inception_v3_2016_08_28_frozen.pb",
        member="inception_v3_2016_08_28_frozen.pb",
        licence=_APACHE,
        card="inception-v3-slim",
        note="checksum and size as in OpenVINO's model zoo and several Yocto recipes",
    ),
    Entry(
        name="inception-v3-torchvision",
        title="Inception v3, torchvision (converted from TensorFlow): 1000 outputs",
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        size=108_949_747,
        sha256="0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
        filename="inception_v3_google-0cc3c7bd.pth",
        licence="BSD-3-Clause",
        card="inception-v3-torchvision",
        note="the file's name carries the start of its checksum",
    ),
    Entry(
        name="inception-v3-keras",
        title="Inception v3, Keras applications: 1000 outputs",
        url="https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
        "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        size=96_112_376,
        sha256="00c9ea4e4762f716ac4d300d6d9c2935639cc5e4d139b5790d765dcbeea539d0",
        filename="inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        licence="MIT",
        card="inception-v3-keras",
        note="Keras itself checks it by MD5 9a0d58056eeedaa3f26cb7ebd46da564",
    ),
    Entry(
        name="mobilenet-v1-1.0-224",
        title="MobileNet v1 1.0 224, TensorFlow slim: 1001 outputs",
        url=f"{_TENSORFLOW}/mobilenet_v1_2018_08_02/mobilenet_v1_1.0_224.tgz",
        size=94_321_559,
        sha256="2fadeabb9968ec6833bee903900dda6e61b3947200535874ce2fe42a8493abc0",
        filename="mobilenet_v1_1.0_224_frozen.pb",
        member="mobilenet_v1_1.0_224_frozen.pb",
        licence=_APACHE,
        card="mobilenet-v1",
        note="checksum as in TensorFlow's own workspace file",
    ),
)


def catalogue_entry(name: str) -> Entry:
    """The entry of that name; WeightsError lists the known ones."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise WeightsError(f"unknown weights {name[:80]!r}; known: {', '.join(e.name for e in CATALOGUE)}")


def is_known_size(size: int) -> bool:
    """Whether a file of this size may be one of the catalogue, so that its checksum is worth computing."""
    return any(e.member is None and e.sha256 is not None and e.size in (None, size) for e in CATALOGUE)
