"""From voices of windows to people: average-linkage clustering in bounded memory.

The voices have unit length, so the mean cosine of all pairs of two clusters is the product of their mean vectors. A
cluster is therefore known by the sum of its voices and their number, and average linkage can go on from clusters that
were made before: a long recording is clustered block by block, and then the blocks' clusters once more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

BLOCK = 2000
"""Voices that are clustered at once: 20 minutes of speech, 16 MB of similarities."""


@dataclass(slots=True)
class Clusters:
    """Clusters by the sums of their voices, shape (clusters, dimensions), and how many voices each has."""

    sums: Floats
    counts: Floats

    def means(self) -> Floats:
        """Return the mean voice of each cluster; its length tells how alike its voices are."""
        return self.sums / self.counts[:, None]

    def centroids(self) -> Floats:
        """Return the direction of each cluster's mean voice."""
        return np.asarray(self.sums / np.maximum(np.linalg.norm(self.sums, axis=1, keepdims=True), 1e-9), np.float32)


def cluster(voices: Floats, least: float) -> Labels:
    """Return a cluster for each voice, counted from 0 in order of appearance.

    Two clusters are joined, the most alike first, while the mean cosine of their pairs is at least `least`.
    """
    labels = np.zeros(len(voices), np.intp)
    sums, counts = [], []
    first = 0
    for start in range(0, len(voices), BLOCK):
        block = voices[start : start + BLOCK]
        found = join(Clusters(block.astype(np.float32), np.ones(len(block), np.float32)), least)
        labels[start : start + BLOCK] = first + found
        merged = combine(Clusters(block, np.ones(len(block), np.float32)), found)
        sums.append(merged.sums)
        counts.append(merged.counts)
        first += len(merged.counts)
    if len(sums) > 1:
        labels = _join_largest(Clusters(np.concatenate(sums), np.concatenate(counts)), least)[labels]
    return number(labels)


def _join_largest(clusters: Clusters, least: float) -> Labels:
    """Join the `BLOCK` largest clusters; each other one goes where it is closest: it is too small to count."""
    order = np.argsort(-clusters.counts, kind="stable")
    large, small = order[:BLOCK], order[BLOCK:]
    labels = np.zeros(len(order), np.intp)
    labels[large] = join(Clusters(clusters.sums[large], clusters.counts[large]), least)
    centroids = combine(Clusters(clusters.sums[large], clusters.counts[large]), labels[large]).centroids()
    labels[small] = (clusters.sums[small] @ centroids.T).argmax(axis=1)
    return labels


def combine(clusters: Clusters, labels: Labels) -> Clusters:
    """Return the clusters that have the same label joined."""
    size = int(labels.max(initial=-1)) + 1
    sums = np.zeros((size, clusters.sums.shape[1]), np.float32)
    np.add.at(sums, labels, clusters.sums)
    counts = np.bincount(labels, clusters.counts, size).astype(np.float32)
    return Clusters(sums, counts)


def join(clusters: Clusters, least: float, target: int = 1) -> Labels:
    """Return a label for each cluster: those with the same are to be one.

    The two most alike are joined again and again until none are alike by `least`, or `target` are left.
    """
    sums, counts = clusters.sums.copy(), clusters.counts.copy()
    size = len(counts)
    means = sums / counts[:, None]
    alike = means @ means.T
    np.fill_diagonal(alike, -np.inf)
    labels = np.arange(size)
    best = alike.argmax(axis=1) if size else labels
    top = alike[np.arange(size), best] if size else np.zeros(0)
    left = size
    while left > target:
        a = int(top.argmax())
        b = int(best[a])
        if top[a] < least:
            break
        a, b = min(a, b), max(a, b)
        sums[a] += sums[b]
        counts[a] += counts[b]
        labels[labels == b] = a
        left -= 1
        row = ((sums @ (sums[a] / counts[a])) / counts).astype(np.float32)
        gone = ~np.isfinite(top)
        row[gone] = row[a] = row[b] = -np.inf
        alike[a], alike[:, a] = row, row
        alike[b], alike[:, b] = -np.inf, -np.inf
        top[b] = -np.inf
        # Whoever was closest to one of the two looks again; whoever is now closer to the joined one takes it.
        again = np.flatnonzero(((best == a) | (best == b)) & np.isfinite(top))
        best[again] = alike[again].argmax(axis=1)
        top[again] = alike[again, best[again]]
        closer = np.flatnonzero(row > top)
        best[closer], top[closer] = a, row[closer]
        best[a] = int(row.argmax())
        top[a] = row[best[a]]
    return number(labels)


def number(labels: Labels) -> Labels:
    """Return labels counted from 0 in order of appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
