"""How the networks beside this file were made, and what the libraries that made them say of one picture.

TensorFlow 2.21.0 (tensorflow-cpu), Keras 3.15.1, tf2onnx 1.17.0, Python 3.11, once:  python make.py
Weights are drawn with a fixed seed and mean nothing. Only `expected.json` is read by the tests beside the networks.
"""

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

HERE = pathlib.Path(__file__).parent
SIDE, CLASSES = 32, 5


def network(seed: int) -> keras.Model:
    """A MobileNet in small: a convolution, a depthwise and a pointwise one with their normalisations, then a softmax."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    given = keras.Input((SIDE, SIDE, 3), name="picture")
    x = layers.Rescaling(2.0, offset=-1.0)(given)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.ReLU(6.0)(layers.Conv2D(16, 1)(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    out = layers.Dense(CLASSES, activation="softmax", name="shares")(x)
    made = keras.Model(given, out)
    rng = np.random.default_rng(seed)
    for layer in made.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        if layer.name == "shares":
            layer.set_weights([rng.normal(0, 3, w.shape) for w in layer.get_weights()])
    return made


class Plain(tf.Module):
    """A network without Keras, for a SavedModel that only TensorFlow wrote."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.kernel = tf.Variable(rng.normal(0, 0.5, (5, 5, 3, 8)).astype(np.float32))
        self.dense = tf.Variable(rng.normal(0, 3, (8, CLASSES)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="picture")])
    def __call__(self, picture):
        x = tf.nn.relu(tf.nn.conv2d(picture, self.kernel, strides=2, padding="SAME"))
        return {"shares": tf.nn.softmax(tf.reduce_mean(x, [1, 2]) @ self.dense)}


def main() -> None:
    """Write the networks and what they say of the picture."""
    picture = np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)  # red, green, blue
    fractions = picture[None].astype(np.float32) / 255
    said = {"picture_rgb": picture.tobytes().hex()}

    plain = Plain()
    tf.saved_model.save(plain, str(HERE / "tensorflow-savedmodel"))
    said["tensorflow-savedmodel"] = plain(fractions)["shares"].numpy()[0].tolist()

    made = network(1)
    made.export(str(HERE / "keras-export"), verbose=False)
    said["keras-export"] = made.predict(fractions, verbose=0)[0].tolist()

    made = network(2)
    signature = [tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, name="picture")]
    tf2onnx.convert.from_keras(
        made, signature, inputs_as_nchw=["picture"], output_path=str(HERE / "keras-to-onnx.onnx")
    )
    said["keras-to-onnx.onnx"] = made.predict(fractions, verbose=0)[0].tolist()

    lite = tf.lite.TFLiteConverter.from_keras_model(network(4)).convert()
    (HERE / "keras-to-lite.tflite").write_bytes(lite)
    said["keras-to-lite.tflite"] = network(4).predict(fractions, verbose=0)[0].tolist()
    (HERE / "expected.json").write_text(json.dumps(said, indent=1) + "\n")


main()
