"""Files that PyTorch itself writes, and a network of PyTorch, against the imported network."""

import numpy as np
import pytest

from keras_sphereface.export.weights import import_weights, read_torch_file
from tests.helpers.weights_files import BLOCKS_20, CHANNELS, random_layers, state_dict

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def torch_state(layers):
    return {name: torch.from_numpy(array) for name, array in state_dict(layers).items()}


def embed_by_torch(layers, bgr_images):
    """The forward pass of the port's `sphere20a`, of operations of PyTorch."""
    functional = torch.nn.functional
    state = torch_state(layers)

    def convolve(x, name, stride):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        y = functional.conv2d(x, weight, bias, stride=stride, padding=1)
        return functional.prelu(y, state[f"{name.replace('conv', 'relu')}.weight"])

    x = torch.from_numpy(np.ascontiguousarray(bgr_images))
    for stage, blocks in enumerate(BLOCKS_20, start=1):
        x = convolve(x, f"conv{stage}_1", 2)
        for block in range(blocks):
            y = convolve(x, f"conv{stage}_{2 * block + 2}", 1)
            x = x + convolve(y, f"conv{stage}_{2 * block + 3}", 1)
    flat = x.reshape(len(x), -1)
    return functional.linear(flat, state["fc5.weight"], state["fc5.bias"]).numpy()


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_saves_is_read(tmp_path, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.PReLU(4))
    tensors = {**module.state_dict(), "turned": torch.arange(6.0).reshape(2, 3).T, "half": None}
    tensors["half"] = torch.arange(3).half()
    state = type(module.state_dict())(tensors)
    state._metadata = module.state_dict()._metadata
    path = tmp_path / "net.pth"
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    read = read_torch_file(path)
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


@pytest.mark.parametrize("is_zip", [True, False])
def test_an_imported_network_embeds_as_that_of_torch(tmp_path, is_zip):
    layers = random_layers(BLOCKS_20, CHANNELS)
    path = tmp_path / "sphere20a.pth"
    torch.save(torch_state(layers), path, _use_new_zipfile_serialization=is_zip)
    network = import_weights(path)
    rgb = np.random.default_rng(1).uniform(-1, 1, (2, 112, 96, 3)).astype(np.float32)
    expected = embed_by_torch(layers, rgb[..., ::-1].transpose(0, 3, 1, 2))
    embeddings = network.predict(rgb, verbose=0)
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
