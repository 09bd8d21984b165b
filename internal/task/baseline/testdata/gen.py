"""Makes sklearn.json: the answers of scikit-learn on a small set.

    pip install scikit-learn==1.9.1 numpy
    python3 gen.py

Counts of 90 texts over 25 tokens in 3 classes, the joint log-likelihoods of MultinomialNB(alpha=0.5) and the
probabilities of LogisticRegression on ln(1 + count) scaled to length 1, with C = 1 / (n l2).
"""
import json
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import normalize

rng = np.random.default_rng(3)
n, features, classes, l2 = 90, 25, 3, 0.01
labels = rng.integers(0, classes, n)
rates = rng.gamma(0.6, 1.0, (classes, features))
counts = rng.poisson(rates[labels])
counts[5] = 0
nb = MultinomialNB(alpha=0.5).fit(counts, labels)
x = normalize(np.log1p(counts))
lr = LogisticRegression(C=1 / (n * l2), tol=1e-10, max_iter=100000).fit(x, labels)
json.dump({"classes": classes, "features": features, "l2": l2, "alpha": 0.5, "labels": labels.tolist(), "counts": counts.tolist(),
           "bayes": nb.predict_joint_log_proba(counts).tolist(), "logistic": lr.predict_proba(x).tolist()}, open("sklearn.json", "w"))
