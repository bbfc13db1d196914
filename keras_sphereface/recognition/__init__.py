"""From a model to an answer: a gallery of enrolled identities, and who a face is among them.

Nothing here imports Keras or TensorFlow: a gallery is NumPy and SQLite.
"""

from keras_sphereface.recognition.gallery import EnrolledIdentity, Gallery
from keras_sphereface.recognition.template_index import IdentityMatch

__all__ = ["EnrolledIdentity", "Gallery", "IdentityMatch"]
