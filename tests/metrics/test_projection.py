"""Linear maps of embeddings: against scikit-learn, by their definitions, and cross-validated."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from keras_sphereface.metrics import projection
from keras_sphereface.metrics.projection import cross_validate_projections, fit_projection


def draw(num_identities=30, size=6, seed=0, spread=(4, 1, 1, 1, 0.5, 0.2)):
    """Rows of 3 to 6 images of each identity, correlated within identities."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(num_identities), rng.integers(3, 7, num_identities))
    mixing = rng.normal(size=(size, size)) * np.array(spread)[:, None]
    means = 2 * rng.normal(size=(num_identities, size)) + 3
    return means[identities] + rng.normal(size=(len(identities), size)) @ mixing, identities


def pooled(rows, identities):
    """The within-class covariance, identity by identity."""
    total = np.zeros((rows.shape[1],) * 2)
    for identity in np.unique(identities):
        total += (np.sum(identities == identity) - 1) * np.cov(rows[identities == identity].T)
    return total / (len(rows) - len(np.unique(identities)))


def test_lda_has_the_directions_of_scikit_learn():
    rows, identities = draw()
    oracle = LinearDiscriminantAnalysis(solver="eigen").fit(rows, identities)
    kernel = fit_projection(rows, identities, "lda", 0.0, size=4).kernel
    np.testing.assert_allclose(np.abs(cosines(kernel, oracle.scalings_[:, :4])), 1, atol=1e-9)


def test_shrinkage_is_of_the_covariance_within():
    """scikit-learn shrinks that between identities too, so SciPy solves B v = lambda W v here."""
    rows, identities = draw()
    within = 0.7 * (s := pooled(rows, identities)) + 0.3 * np.diag(s).mean() * np.eye(6)
    freedom = (len(rows) - len(np.unique(identities))) / len(rows)
    between = np.cov(rows.T, bias=True) - freedom * pooled(rows, identities)
    expected = eigh(between, within)[1][:, ::-1]
    kernel = fit_projection(rows, identities, "lda", 0.3).kernel
    np.testing.assert_allclose(np.abs(cosines(kernel, expected)), 1, atol=1e-9)


def cosines(first, second):
    """Of the columns of two matrices."""
    products = np.sum(first * second, axis=0)
    return products / (np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0))


@pytest.mark.parametrize("method", ["lda", "wccn"])
def test_the_covariance_within_identities_becomes_the_identity_matrix(method):
    rows, identities = draw()
    mapped = fit_projection(rows, identities, method, 0.0)(rows)
    np.testing.assert_allclose(pooled(mapped, identities), np.eye(6), atol=1e-9)
    np.testing.assert_allclose(mapped.mean(axis=0), 0, atol=1e-9)


def test_pca_whitens_what_is_within_and_between():
    rows, identities = draw()
    mapped = fit_projection(rows, identities, "pca", 0.0)(rows)
    within = pooled(mapped, identities)
    means = np.stack([mapped[identities == i].mean(axis=0) for i in identities])
    np.testing.assert_allclose(within + np.cov(means.T, bias=True), np.eye(6), atol=1e-9)


def test_pca_keeps_the_directions_of_most_variance():
    rows = np.random.default_rng(0).normal(size=(100, 3)) * [1, 9, 0.1]
    kernel = fit_projection(rows, np.arange(100) // 2, "pca", 0.0, size=1).kernel[:, 0]
    assert abs(kernel[1]) == pytest.approx(1 / 9, rel=0.2)
    assert abs(kernel[1]) > 50 * max(abs(kernel[[0, 2]]))


@pytest.mark.parametrize("method", ["wccn", "pca"])
def test_full_shrinkage_keeps_angles(method):
    rows, identities = draw()
    mapped, centered = fit_projection(rows, identities, method, 1.0)(rows), rows - rows.mean(0)
    ratio = np.linalg.norm(mapped, axis=1) / np.linalg.norm(centered, axis=1)
    np.testing.assert_allclose(mapped @ mapped.T, ratio[0] ** 2 * centered @ centered.T, atol=1e-9)


def test_plda_scores_pairs_as_the_two_covariance_model():
    """log p(x, y | same) - log p(x) p(y), less what depends on x or y alone, by SciPy's densities.

    The drawn variances are the density's; the fit finds them from the images.
    """
    rng = np.random.default_rng(0)
    between, within = np.array([4.0, 1.0, 0.25]), np.array([1.0, 0.5, 1.0])
    identities = np.repeat(np.arange(4000), 8)
    latent = rng.normal(size=(4000, 3)) * np.sqrt(between)
    rows = latent[identities] + rng.normal(size=(32000, 3)) * np.sqrt(within)
    kernel = fit_projection(rows, identities, "plda", 0.0).kernel
    total, cross = np.diag(between + within), np.diag(between)
    joint = multivariate_normal(np.zeros(6), np.block([[total, cross], [cross, total]]))

    def crossed(x, y):
        """The part that depends on both: f(x, y) - f(x, 0) - f(0, y) + f(0, 0)."""
        zero = np.zeros(3)
        log = joint.logpdf
        return log(np.r_[x, y]) - log(np.r_[x, zero]) - log(np.r_[zero, y]) + log(np.r_[zero, zero])

    for x, y in rng.normal(size=(5, 2, 3)):
        score = (x @ kernel) @ (y @ kernel)
        assert score == pytest.approx(crossed(x, y), rel=0.05, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "svm"}, "must be one of lda"),
        ({"shrinkage": 1.5}, r"must be in \[0, 1\]. Received: shrinkage=1.5"),
        ({"size": 7}, "from 1 to that of the embeddings, 6, and below"),
        ({"identities": np.arange(3)}, "an identity for each"),
        ({"identities": np.arange(60)}, "some with two images or more. Received: 60 images of 60"),
        ({"embeddings": np.full((60, 6), np.nan)}, "must be finite"),
        ({"embeddings": np.ones((60, 6)), "shrinkage": 0.0}, "singular: raise `shrinkage`"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, message):
    rows = np.random.default_rng(0).normal(size=(60, 6))
    given = {"embeddings": rows, "identities": np.arange(60) // 3, **arguments}
    with pytest.raises(ValueError, match=message):
        fit_projection(**given)


def test_cross_validation_sees_what_helps_and_what_does_not():
    rows, identities = draw(60, spread=(8, 8, 0.1, 0.1, 0.1, 0.1))
    none, *scores = cross_validate_projections(rows[:, None], identities, ["wccn"], [0.01, 1.0])
    assert none.method == "none"
    assert none.gain == 0
    assert scores[0].is_better
    assert scores[0].auc > none.auc + 0.02
    isotropic = np.random.default_rng(0).normal(size=(60, 1, 6))[identities]
    isotropic = isotropic + np.random.default_rng(1).normal(size=isotropic.shape)
    scores = cross_validate_projections(isotropic, identities, ["wccn"], [0.01])
    assert not scores[1].is_better


def test_no_identity_is_fitted_and_judged_on(monkeypatch):
    rows, identities = draw()
    fitted, judged = [], []
    moments, auc = projection._moments, projection._all_pairs_auc
    names_of_rows = {tuple(row): name for row, name in zip(rows, identities, strict=True)}

    def fitted_moments(rows, codes):
        fitted.append({names_of_rows[tuple(row)] for row in rows})
        return moments(rows, codes)

    def all_pairs_auc(views, codes):
        judged.append(set(codes))
        return auc(views, codes)

    monkeypatch.setattr(projection, "_moments", fitted_moments)
    monkeypatch.setattr(projection, "_all_pairs_auc", all_pairs_auc)
    cross_validate_projections(rows[:, None], identities, ["lda"], [0.1])
    assert len(fitted) == 5
    for learned, without, mapped in zip(fitted, judged[::2], judged[1::2], strict=True):
        assert without == mapped
        assert not learned & mapped
        assert learned | mapped == set(range(30))


def test_few_identities_are_refused():
    rows, identities = draw(9)
    with pytest.raises(ValueError, match=r"at least 10 identities .* Received: 9 of 9"):
        cross_validate_projections(rows[:, None], identities)
