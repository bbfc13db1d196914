"""YuNet by OpenCV: what a file without faces in it refuses, and the form of what it returns."""

import importlib.util

import numpy as np
import pytest

from keras_sphereface.data.yunet import yunet_detector

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="ONNX is an extra")
SIDE = 64
# Left eye, right eye, nose, left and right mouth corner as seen in the image.
POINTS = np.array([(24, 26), (40, 26), (32, 34), (26, 42), (38, 42)], np.float32)
BOX = (16, 12, 32, 40)  # left, top, width, height


def fake_yunet(path):
    """A file with the outputs of YuNet, which finds one face in every image of 64 x 64."""
    from onnx import TensorProto, helper, numpy_helper, save

    constants = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
        for name, size in sizes.items():
            constants[f"{name}_{stride}"] = np.zeros((1, cells, size), np.float32)
    cell, place = 4 * (SIDE // 8) + 4, np.array([4, 4])  # row 4, column 4 of the finest
    constants["cls_8"][0, cell] = constants["obj_8"][0, cell] = 0.81
    left, top, width, height = BOX
    center = np.array([left + width / 2, top + height / 2]) / 8 - place
    constants["bbox_8"][0, cell] = [*center, np.log(width / 8), np.log(height / 8)]
    constants["kps_8"][0, cell] = (POINTS / 8 - place).ravel()
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    stored = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    outputs = []
    for name, values in constants.items():
        stored.append(numpy_helper.from_array(values, f"{name}_values"))
        nodes.append(helper.make_node("Add", [f"{name}_values", "nothing"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "yunet", [image], outputs, stored)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path


@needs_onnx
def test_boxes_points_and_confidence_are_those_of_opencv(tmp_path):
    detect = yunet_detector(fake_yunet(tmp_path / "yunet.onnx"))
    faces = detect(np.zeros((SIDE, SIDE, 3), np.uint8))
    np.testing.assert_allclose(faces.boxes, [[16, 12, 48, 52]], atol=1e-3)
    np.testing.assert_allclose(faces.points, POINTS[None], atol=1e-3)
    np.testing.assert_allclose(faces.confidences, [0.81], atol=1e-4)
    strict = yunet_detector(tmp_path / "yunet.onnx", min_confidence=0.9)
    assert strict(np.zeros((SIDE, SIDE, 3), np.uint8)).points.shape == (0, 5, 2)


def test_other_files_are_refused_quietly(tmp_path, capfd):
    (tmp_path / "other.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"must be an .onnx file of YuNet .*other.onnx; OpenCV"):
        yunet_detector(tmp_path / "other.onnx")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(FileNotFoundError, match=r"none.onnx, which does not exist"):
        yunet_detector(tmp_path / "none.onnx")
    (tmp_path / "yunet.txt").write_text("")
    with pytest.raises(ValueError, match=r"must be mtcnn or an .onnx file"):
        yunet_detector(tmp_path / "yunet.txt")
