"""Provider profiles: what ships, and how a wrong file is named."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from ingest.errors import ProfileError
from ingest.profiles import Profile, load_profiles, profile_for

EXPECTED = {
    "stripe": ("per_attempt", True, "published"),
    "github": ("body_only", True, "published"),
    "shopify": ("body_only", True, "none"),
    "standard-webhooks": ("per_attempt", True, "unknown"),
    "svix": ("per_attempt", True, "published"),
    "slack": ("unknown", True, "changing"),
    "adyen": ("body_only", None, "discouraged"),
    "sendgrid": ("unknown", None, "changing"),
    "twilio": ("body_only", None, "paid_only"),
    "generic": ("unknown", None, "unknown"),
}


def test_the_shipped_profiles_say_what_the_providers_say() -> None:
    """Every provider is there with its freshness, id rule and source policy."""
    found = {
        name: (profile.freshness, profile.id_stable_on_retry, profile.source_policy)
        for name, profile in load_profiles().items()
    }
    assert found == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_fact_names_its_day_and_source(name: str) -> None:
    """No fact ships without as_of and source, and a published list is not empty."""
    profile = load_profiles()[name]
    plain = Profile(name)
    for field in fields(Profile):
        if field.name in {"name", "facts"}:
            continue
        if getattr(profile, field.name) != getattr(plain, field.name):
            fact = profile.facts[field.name]
            assert fact.as_of[:2] == "20"
            assert fact.source == "assumption" or fact.source.startswith("https://")
    assert bool(profile.ranges) == (profile.source_policy == "published")


def test_a_schedule_fits_its_horizon_and_attempts() -> None:
    """Where gaps are published whole, they add up to the horizon and to one gap per retry."""
    for name in ("standard-webhooks", "svix", "slack"):
        profile = load_profiles()[name]
        assert sum(profile.gaps_s) == profile.horizon_s
        assert len(profile.gaps_s) + 1 == profile.max_attempts


def test_profiles_are_plain_data() -> None:
    """A profile can be hashed, compared and turned into a dict, for the configuration's hash."""
    profile = load_profiles()["svix"]
    assert asdict(profile)["facts"]["gaps_s"]["as_of"] == "2026-11"
    assert hash(profile) == hash(load_profiles()["svix"])


def test_an_unknown_provider_is_generic() -> None:
    """Events of no or an unknown provider use the generic profile."""
    profiles = load_profiles()
    assert profile_for(profiles, None) is profiles["generic"]
    assert profile_for(profiles, "nobody") is profiles["generic"]
    assert profile_for(profiles, "stripe") is profiles["stripe"]


def test_a_folder_of_ones_own_adds_and_overrides(tmp_path: Path) -> None:
    """A user's profile overrides the shipped one of its name and leaves the others."""
    text = 'tolerance_s = 60\n[facts.tolerance_s]\nas_of = "2026-11-20"\nsource = "our contract"\n'
    (tmp_path / "stripe.toml").write_text(text)
    (tmp_path / "inhouse.toml").write_text(text)
    found = load_profiles(tmp_path)
    assert found["stripe"].tolerance_s == found["inhouse"].tolerance_s == 60
    assert found["stripe"].ranges == ()
    assert found["github"] == load_profiles()["github"]
    assert load_profiles()["stripe"].tolerance_s == 300


_FACT = '\n[facts.{0}]\nas_of = "2026"\nsource = "s"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", '"colour": is no known field; allowed are name, freshness'),
        ('name = "other"', '"name": is no known field'),
        ('freshness = "never"', "freshness: allowed: per_attempt, body_only, nonce, unknown"),
        ("max_attempts = 0", "max_attempts: allowed: an integer of at least 1; given 0"),
        ("max_attempts = true", "max_attempts: allowed: an integer of at least 1; given true"),
        ("gaps_s = [-1]", "gaps_s: allowed: a list of seconds; given a list of 1"),
        ("jitter = 1.0", "jitter: allowed: a number from 0 to below 1; given 1.0"),
        ("timeout_s = nan", "timeout_s: allowed: seconds; given nan"),
        ('ranges = ["10.0.0.1/8"]', "ranges: allowed: a list of networks in CIDR form"),
        ("timeout_s = 1", "facts.timeout_s: is missing"),
        ("facts = 1", "facts.: allowed: as_of and source"),
        ("timeout_s = 1\n[facts.timeout_s]\nas_of = 1", "facts.timeout_s: allowed: as_of"),
        ("a" + _FACT.format("jitter"), "Expected '='"),
        ('name = "x"' + _FACT.format("jitter"), "facts.jitter: allowed are the fields"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A wrong file gives one line: file, field, what is allowed, what was given."""
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "x.toml"))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there is an error, not an empty set of profiles."""
    with pytest.raises(ProfileError, match="is no folder"):
        load_profiles(tmp_path / "none")
