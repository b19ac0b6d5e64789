"""Train a classifier on a folder of labelled photos, then classify new ones.

    python train_and_predict.py photos/ runs/flowers new/*.jpg

Needs: pip install '.[train]'
"""

import argparse
from pathlib import Path

import googlenet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("data", help="a folder with one sub-folder per class, or a list (.csv)")
parser.add_argument("run", type=Path, help="where the trained classifier is, or will be")
parser.add_argument("images", nargs="+", help="images to classify")
parser.add_argument("--minutes", type=float, default=10, help="how long to train (10 by default)")
options = parser.parse_args()

if not options.run.exists():
    bundle = googlenet.train(options.data, options.run, minutes=options.minutes)
    print(f"accuracy on held-out images: {bundle.card.metrics['top1']:.1%}")

classifier = googlenet.load(options.run)
for image, prediction in zip(options.images, classifier.predict_many(options.images), strict=True):
    if isinstance(prediction, googlenet.GoogLeNetError):
        print(f"{image}: {prediction}")
    else:
        print(f"{image}: {prediction.label} ({prediction.probability:.1%})")
