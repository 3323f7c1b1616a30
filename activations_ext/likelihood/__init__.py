"""Outputs of a network as the parameters of a distribution of the target, and its negative
log-likelihood as the loss.

A family takes raw outputs, of any real numbers, whose output activation it applies by itself. For
targets of D numbers:

===================  =====================================  ====================================
family               outputs                                so that the loss is
===================  =====================================  ====================================
Gaussian             D means                                the squared error / 2σ², and a constant
Gaussian(None)       D means, D scales                      that of heteroscedastic regression
StudentT             D degrees of freedom, locs, scales     that of regression with outliers
LogitNormal          D means, D scales                      that of shares, of numbers from 0 to 1
Beta                 D concentrations of 1, D of 0          another of shares
Poisson              D logarithms of rates                  that of counts
NegativeBinomial     D total counts, D logits               that of counts that vary more
Bernoulli            D logits (sigmoid)                     binary cross-entropy
Categorical          a logit for each class (softmax)       cross-entropy
MixtureOfGaussians   C logits, C·D means, C·D scales        that of a mixture density network
===================  =====================================  ====================================

``MixtureOfMultivariateGaussians`` is the last with full covariances.

The logarithm of the likelihood undoes the exponential of sigmoid and softmax: the gradient does not
vanish where they saturate, as that of the squared error of their values does. (Goodfellow et al.,
Deep Learning, 6.2.2.)
"""

from activations_ext.likelihood.base import Likelihood, raw_of, scale_of
from activations_ext.likelihood.classes import Bernoulli, Categorical
from activations_ext.likelihood.counts import NegativeBinomial, Poisson
from activations_ext.likelihood.full_covariance import MixtureOfMultivariateGaussians
from activations_ext.likelihood.gaussian import Gaussian
from activations_ext.likelihood.heavy_tails import StudentT
from activations_ext.likelihood.mixture import MixtureOfGaussians
from activations_ext.likelihood.shares import Beta, LogitNormal

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Gaussian",
    "Likelihood",
    "LogitNormal",
    "MixtureOfGaussians",
    "MixtureOfMultivariateGaussians",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "raw_of",
    "scale_of",
]
