"""SphereFace for Keras: A-Softmax, its networks, its data path and its evaluation."""
from keras_sphereface.layers import ASoftmax
from keras_sphereface.losses import ASoftmaxLoss
