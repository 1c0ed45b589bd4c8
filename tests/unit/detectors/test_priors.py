"""Priors of new senders: fitted from archives, checked when read, and what they change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from detectors.config import Config
from detectors.config_file import load_config
from detectors.errors import ConfigError
from detectors.priors import Fit, Prior, SizePrior, fit_share, fit_size, load_priors, text_of
from detectors.priors_cli import priors
from tests.unit.detectors.streams import DAY, MINUTE, MONDAY, Run, calls, encode, event, traffic

BAD = {"rejected": "signature_invalid"}


def archive(senders: int = 8) -> list[bytes]:
    """Return two days of several senders of one provider, each with its own level."""
    made = []
    for n in range(senders):
        usual = list(traffic(days=2, sender=f"s{n}", provider="svix", event_type="order.paid"))
        usual += calls(2 + n % 3, 600, MONDAY + DAY, sender=f"s{n}", provider="svix", **BAD)
        made += usual
    return encode(made)


def test_a_beta_distribution_is_found_again() -> None:
    """Shares drawn from a beta distribution give its mean and, within a half, its weight."""
    rng = np.random.Generator(np.random.PCG64(3))
    shares = rng.beta(2.0, 98.0, 400)
    fitted = fit_share([(5000, int(rng.binomial(5000, p))) for p in shares])
    assert fitted is not None
    assert fitted[0] == pytest.approx(0.02, rel=0.2)
    assert 50 <= fitted[1] <= 200


def test_few_senders_make_no_prior() -> None:
    """Four senders, or senders of a few calls, say nothing about others."""
    assert fit_share([(1000, 5)] * 4) is None
    assert fit_share([(29, 1)] * 50) is None
    assert fit_size([[100.0, 700.0, 4950.0]] * 4) is None


def test_a_few_broken_senders_do_not_move_it() -> None:
    """One sender of ten whose calls all fail is left out."""
    fitted = fit_share([(1000, 4 + n) for n in range(9)] + [(1000, 1000)])
    assert fitted is not None
    assert fitted[0] < 0.02


def test_what_is_fitted_is_read_again(tmp_path: Path) -> None:
    """The command writes a file that the configuration takes, and that is part of its hash."""
    source, out = tmp_path / "events.jsonl", tmp_path / "priors.toml"
    source.write_bytes(b"\n".join([*archive(), b"no event", b"[1]"]))
    done = CliRunner().invoke(priors, [str(source), "--out", str(out)])
    assert done.exit_code == 0, done.output
    (found,) = load_priors(out).values()
    assert found.failure_share is not None
    assert 0.001 <= found.failure_share <= 0.02
    size = found.sizes["order.paid"]
    assert size.bytes == pytest.approx(2000, rel=0.1)
    assert size.spread == pytest.approx(0.4, rel=0.2)
    (tmp_path / "detectors.toml").write_text('priors = "priors.toml"\n')
    config = load_config(tmp_path / "detectors.toml")
    assert config.hash != Config().hash
    assert config.priors["svix"] == found


def test_names_in_the_file_are_escaped() -> None:
    """An event type may hold what TOML gives a meaning to."""
    prior = Prior(0.01, 50.0, {'a"]\n[b': SizePrior(10.0, 0.5, 3.0)})
    assert "\n[b" not in text_of({"svix": prior}, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("svix = 1", "svix must be a table"),
        ("[svix]\nfailure = 1", "unknown key 'failure'"),
        ("[svix]\nfailure_share = 2\nfailure_calls = 20", "must be a number from 0.0005 to 0.5"),
        ("[svix]\nfailure_share = 0.1", "failure_calls of 'svix' must be a number"),
        ('[svix.sizes."x"]\nbytes = -1\nspread = 1\nweight = 1', "bytes of 'x'"),
        ("[svix", "no TOML"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    """Each fault is one line that says what is wrong, also through the configuration."""
    path = tmp_path / "priors.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_priors(path)
    assert "\n" not in str(caught.value)
    (tmp_path / "detectors.toml").write_text('priors = "priors.toml"\n')
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "detectors.toml")


def test_a_new_sender_leans_on_the_prior_of_its_provider() -> None:
    """With a prior a huge payload is found among the first ones, low; without one it is not."""
    prior = Prior(0.004, 300.0, {"order.paid": SizePrior(2000.0, 0.4, 30.0)})
    first = calls(5, 600, MONDAY, provider="svix", event_type="order.paid")
    huge = event(MONDAY + DAY, provider="svix", event_type="order.paid", body_bytes=900_000)
    with_prior = Run(first, config=Config(priors={"svix": prior}))
    with_prior.feed([huge])
    assert with_prior.loud() == ["payload-volume size_high low"]
    without = Run(first)
    without.feed([huge])
    assert without.loud() == []


def test_a_fitted_share_finds_a_failure_earlier() -> None:
    """A sender of two days is judged by what others of its provider fail."""
    opened = []
    for known in ({}, {"svix": Prior(0.004, 400.0)}):
        run = Run(traffic(days=2, per_hour=2, provider="svix"), config=Config(priors=known))
        run.feed(calls(12, 60, MONDAY + 2 * DAY + MINUTE, provider="svix", **BAD))
        opened.append(run.opened("signature-failure-spike") or 99)
    assert opened[1] <= 4 <= opened[0]


def test_a_fit_leaves_out_what_is_no_event_of_a_known_provider() -> None:
    """Events without a provider, redirects and lines that are none are not counted."""
    fit = Fit()
    fit.add([b"{}", b"\xff", *encode(calls(3, 1)), *encode(calls(2, 1, provider="svix"))])
    fit.add(encode(calls(2, 1, provider="svix", kind="redirect")))
    assert fit.events == 2
