"""Makes the fixtures of arrays and images: python3 gen.py, in an environment with numpy 2.4 and pillow 13.

numpy.npz   an array of every element type that is read, as NumPy writes it (deflated); x of each is 3 x 2
image.png   48 x 66 pixels (width x height) of colours and edges
image.npz   what Pillow makes of it: crop = short side to 32 (bicubic), the centre 24 x 24; stretch = 20 x 20 (bicubic); both RGB float32, from
            images of floats: between two passes over bytes Pillow would cut off what overshoots at an edge
"""
import os
import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    base = np.array([[0, 1], [2, 3], [100, 127]])
    arrays = {t: base.astype(t) for t in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
    arrays["b1"] = base % 2 == 1
    arrays["negative"] = -base.astype("i8") - 1
    arrays["scalar"] = np.int64(16000)
    arrays["column"] = np.asfortranarray(np.arange(3, dtype="f4").reshape(3, 1))[:, 0]
    np.savez_compressed(os.path.join(HERE, "numpy.npz"), **arrays)
    y, x = np.mgrid[0:66, 0:48]
    rgb = np.stack([x * 5, (y * 255) // 66, (x * y) // 13], axis=-1).astype("u1")
    rgb[20:40, 10:30] = [250, 20, 90]
    rgb[50:, 30:] = 255
    img = Image.fromarray(rgb, "RGB")
    img.save(os.path.join(HERE, "image.png"))

    def resize(*size):
        return np.clip(np.stack([np.asarray(c.convert("F").resize(size, Image.BICUBIC)) for c in img.split()], axis=-1), 0, 255)

    np.savez_compressed(os.path.join(HERE, "image.npz"), crop=resize(32, 44)[10:34, 4:28], stretch=resize(20, 20))


main()
