"""Certificates: proved by the checker, refused when anything in them is changed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from kernelproof.reference import DomainError, UndecidedError
from kernelproof.reference.certificate import Certificate, certificate, recheck


@pytest.mark.parametrize("order", ["1/16", "1/2", "1", "3/2", "2", "2.7", "64", "1e4", "1e8"])
def test_certificates_are_proved_and_changed_ones_refused(order: str) -> None:
    z = np.random.default_rng(11).normal(0, 2, 40).astype(np.float32)
    claim = certificate(z, order)
    assert recheck(claim)
    assert recheck(Certificate.parse(claim.json))
    width = Fraction(claim.high) - Fraction(claim.low)
    shifted = replace(claim, low=str(Fraction(claim.high) + width), high=str(Fraction(claim.high) + 2 * width))
    assert not recheck(shifted)
    assert not recheck(replace(claim, low=str(Fraction(claim.low) - 2 * width), high=str(Fraction(claim.low) - width)))
    assert not recheck(replace(claim, support=claim.support - 1))
    assert not recheck(replace(claim, support=claim.support + 1)) or claim.support == len(claim.gaps)
    assert not recheck(replace(claim, gaps=(*claim.gaps, "0")))


def test_what_has_no_certificate_says_so() -> None:
    with pytest.raises(DomainError, match="finite order"):
        certificate([0.0, 1.0], "inf")
    with pytest.raises(DomainError, match="one row"):
        certificate([[0.0]], 2)
    with pytest.raises(UndecidedError, match="exactly at the threshold"):
        certificate([1.0, 0.0], 1)
