"""Recognition over HTTP: `sphereface serve`, its application, its queue and its page.

The names below are imported on first use: FastAPI is an extra, `pip install
keras-sphereface[serve]`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.serving.app import create_app
    from keras_sphereface.serving.limits import ServiceLimits
    from keras_sphereface.serving.service import RecognitionService

__all__ = ["RecognitionService", "ServiceLimits", "create_app"]

_MODULES = {
    "app": ("create_app",),
    "limits": ("ServiceLimits",),
    "service": ("RecognitionService",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
