"""Writes `keras_2_2_4.h5` and `keras_2_2_4.npz` with Keras 2.2.4 itself, which needs Python 3.6.

    pip install tensorflow==1.12.0 keras==2.2.4 h5py==2.10.0 numpy==1.16.6
    python tests/convert/keras_2_2_4.py CHIPS-0.npy CHIPS-1.npy

The chips are the first 144 crowns of the real data, whole (0) and blackened (1): cut to 256 x 256 cells by
`tests/oracle.py`, and resampled to 64 x 64 by scikit-image 0.26.0 as `tests/imagery/scikit_image_resizes.py` calls it,
`(n, 64, 64, 3)`. (scikit-image 0.15.0 gives one grey level less in 6 % of the cells.) Weights are drawn at random, and
the last layer is set so that both labels occur in both sets.
"""

import sys

import keras
import numpy as np
from keras import layers

if __name__ == "__main__":
    np.random.seed(3)
    model = keras.models.Sequential(
        [
            layers.Conv2D(16, (3, 3), strides=2, padding="same", activation="relu", input_shape=(64, 64, 3)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu", padding="same"),
            layers.Dropout(0.3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    sets = [np.load(path).astype("float32") for path in sys.argv[1:3]]
    chips = np.concatenate(sets)
    features = keras.models.Model(model.inputs, model.layers[0].output).predict(chips)
    statistics = model.layers[1].get_weights()
    statistics[2:] = [features.mean((0, 1, 2)), features.var((0, 1, 2))]
    model.layers[1].set_weights(statistics)
    pooled = keras.models.Model(model.inputs, model.layers[-2].output).predict(chips)
    kernel = np.random.randn(pooled.shape[1], 2) * 2
    between = np.median(pooled[len(sets[0]) :], 0) - np.median(pooled[: len(sets[0])], 0)
    kernel -= np.outer(between, between @ kernel) / (between @ between)
    difference = pooled @ kernel @ [-1, 1]
    scale = 2 / difference.std()
    model.layers[-1].set_weights([kernel * scale, np.array([0, -np.median(difference) * scale])])
    model.save("keras_2_2_4.h5", include_optimizer=False)
    np.savez_compressed("keras_2_2_4.npz", **{f"blacken-{n}": model.predict(item) for n, item in enumerate(sets)})
