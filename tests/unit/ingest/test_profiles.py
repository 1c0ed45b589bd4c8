"""Provider profiles: what ships, what a user's file may do, and how a wrong one is named."""

from dataclasses import asdict, fields
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ProfileError
from ingest.profile_facts import LIMIT_DAYS, RULES, Fact, first_day
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
    "paypal": ("unknown", True, "unknown"),
    "square": ("body_only", None, "unknown"),
    "mailgun": ("nonce", None, "unknown"),
    "zoom": ("unknown", None, "published"),
    "cloudevents": ("unknown", True, "unknown"),
    "generic": ("unknown", None, "unknown"),
}
FACT = '\n[{0}]\nvalue = {1}\nas_of = "2026-11-20"\nsource = "our contract"\n'


def test_the_shipped_profiles_say_what_the_providers_say() -> None:
    """Every provider is there with its freshness, id rule and source policy."""
    found = {
        name: (profile.freshness, profile.id_stable_on_retry, profile.source_policy)
        for name, profile in load_profiles().items()
    }
    assert found == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_fact_names_its_day_and_source(name: str) -> None:
    """No fact ships without as_of and source, and none says that it is unknown."""
    profile = load_profiles()[name]
    plain = Profile(name)
    said = {one for one in RULES if getattr(profile, one) != getattr(plain, one)}
    assert said == profile.facts.keys()
    for one in (*profile.facts.values(), *(remark.fact for remark in profile.remarks)):
        assert date(2020, 1, 1) < one.day <= date(2026, 11, 20)
        assert "assum" not in one.source
    assert "unknown" not in {getattr(profile, one) for one in said}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_does_not_come_from_a_provider_is_marked(name: str) -> None:
    """A third party's page is no provider's word, and an inference tells how it was made."""
    for field, fact in load_profiles()[name].facts.items():
        others = ("dev.to", "glean.com", "webhooks.fyi", "mailglass", "moveworks")
        if any(other in fact.source for other in others):
            assert fact.basis != "stated", field
    body_only = load_profiles()[name].freshness == "body_only"
    assert not body_only or load_profiles()[name].facts["freshness"].basis == "inferred"


def test_the_rules_are_the_fields_of_a_profile() -> None:
    """Each kind of fact is a field, each field a kind of fact, and each kind has a limit."""
    others = {"name", "facts", "remarks", "own"}
    assert [one.name for one in fields(Profile) if one.name not in others] == list(RULES)
    assert {rule.kind for rule in RULES.values()} == LIMIT_DAYS.keys()


def test_a_schedule_fits_its_horizon_and_attempts() -> None:
    """Where gaps are published whole, they add up to the horizon and to one gap per retry."""
    for name in ("standard-webhooks", "svix", "slack", "mailgun"):
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


def test_a_folder_of_ones_own_adds_and_replaces(tmp_path: Path) -> None:
    """A user's profile replaces the shipped one of its name and leaves the others."""
    text = FACT.format("tolerance_s", 60)
    (tmp_path / "stripe.toml").write_text(text)
    (tmp_path / "inhouse.toml").write_text(text)
    found = load_profiles(tmp_path)
    assert found["stripe"].tolerance_s == found["inhouse"].tolerance_s == 60
    assert found["stripe"].ranges == ()
    assert found["stripe"].own
    assert found["github"] == load_profiles()["github"]
    assert load_profiles()["stripe"].tolerance_s == 300


def test_a_file_of_ones_own_may_change_single_facts(tmp_path: Path) -> None:
    """What extends a shipped profile keeps its other facts, each with its own origin."""
    path = tmp_path / "any.toml"
    path.write_text(
        'name = "stripe"\nextends = "stripe"\n'
        'tolerance_s = { value = 60, as_of = 2026-11-20, source = "our setting" }\n'
        '[[remark]]\ntext = "Two accounts."\nas_of = "2026"\nsource = "payments team"\n'
    )
    shipped, mine = load_profiles()["stripe"], load_profiles(path)["stripe"]
    assert mine.tolerance_s == 60
    assert mine.facts["tolerance_s"] == Fact("2026-11-20", "our setting")
    assert mine.ranges == shipped.ranges
    assert mine.facts["ranges"] == shipped.facts["ranges"]
    assert [one.text for one in mine.remarks][-1] == "Two accounts."


def test_a_profile_may_extend_another_under_a_name_of_its_own(tmp_path: Path) -> None:
    """A service that signs as Standard Webhooks do needs three lines, and none of its facts."""
    (tmp_path / "acme.toml").write_text('extends = "standard-webhooks"\n')
    found = load_profiles(tmp_path)
    assert found["acme"].freshness == "per_attempt"
    assert found["acme"].name == "acme"
    assert found["standard-webhooks"] == load_profiles()["standard-webhooks"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", ':1: "colour": is no known key; allowed are name, extends, remark, fresh'),
        ('extends = "strpe"', ":1: extends: allowed: adyen, cloudevents, "),
        ("extends = [1]", ":1: extends: allowed: adyen"),
        ('name = ""', ":1: name: allowed: one line of 1 to 64 printable characters"),
        ("timeout_s = 1", ":1: timeout_s: allowed is a table of value, as_of, source, basis, note"),
        (FACT.format("freshness", '"never"'), ":3: freshness: allowed: per_attempt, body_only,"),
        (FACT.format("max_attempts", 0), ":3: max_attempts: allowed: an integer from 1 to 10000"),
        (FACT.format("max_attempts", "true"), "an integer from 1 to 10000; given true"),
        (FACT.format("gaps_s", "[-1]"), "gaps_s: allowed: a list of up to 100 numbers"),
        (FACT.format("gap_range_s", "[9, 3]"), "gap_range_s: allowed: a list of two numbers"),
        (FACT.format("jitter", "1.0"), "jitter: allowed: a number from 0 to below 1; given 1.0"),
        (FACT.format("timeout_s", "nan"), "timeout_s: allowed: seconds, up to 10 years; given nan"),
        (FACT.format("key_id_visible", 1), "key_id_visible: allowed: true or false; given 1"),
        (FACT.format("ranges", '["10.0.0.1/8"]'), "ranges: allowed: a list of networks in CIDR"),
        (FACT.format("ranges", "[7]"), "ranges: allowed: a list of networks in CIDR form"),
        (FACT.format("ranges_url", '"http://x"'), "ranges_url: allowed: an address with https://"),
        (FACT.format("signed", '"a\\nb"'), "signed: allowed: one line of 1 to 400"),
        (FACT.format("jitter", "0.1") + "by = 1", 'jitter."by": is no known key; allowed are val'),
        (FACT.format("jitter", "0.1") + 'basis = "sure"', ":6: jitter.basis: allowed: stated, sec"),
        (FACT.format("jitter", "0.1") + "note = 1", "jitter.note: allowed: one line"),
        ("[jitter]\nvalue = 0.1", ":1: jitter.source: is missing; every fact names its day and"),
        ('[jitter]\nas_of = "2026"\nsource = "s"', ":1: jitter.value: is missing"),
        ('[jitter]\nvalue=0.1\nas_of = "11/2026"\nsource = "s"', ":3: jitter.as_of: allowed: YYYY"),
        ('[jitter]\nvalue=0.1\nas_of = "2026-13"\nsource = "s"', ":3: jitter.as_of: allowed: YYYY"),
        ("remark = 1", ":1: remark: allowed are rows, each under [[remark]]"),
        ("[[remark]]\ntext = 1", "remark.text: allowed: one line"),
        (FACT.format("gaps_s", "[60, 90]") + FACT.format("horizon_s", 100), "150 s in all, more"),
        (FACT.format("gaps_s", "[60]") + FACT.format("max_attempts", 1), "1 gaps, and max_attempt"),
        ("a\n", ":1: no TOML: Expected '='"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path: Path, text: str, message: str) -> None:
    """A wrong file gives a line with file, line, field, what is allowed and what was given."""
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert message in str(caught.value)
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path / 'x.toml'}:")


def test_all_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    """Nobody has to correct one fault to be told the next one."""
    (tmp_path / "a.toml").write_text('name = "b"\ncolour = 1\njitter = 2\n')
    (tmp_path / "b.toml").write_text(FACT.format("jitter", 2))
    (tmp_path / "c.toml").write_bytes(b"# \xe9")
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    places = [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]
    assert [place[:8] for place in places] == [
        "a.toml:2", "a.toml:3", "b.toml:1", "b.toml:3", "c.toml: ",
    ]  # fmt: skip
    assert '"b" is that of' in places[2]


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    """What is not there is an error, not an empty set of profiles."""
    with pytest.raises(ProfileError, match="none: cannot be read"):
        load_profiles(tmp_path / "none")
    with pytest.raises(ProfileError, match="holds no profile"):
        load_profiles(tmp_path)


@given(st.text(max_size=12))
def test_a_day_is_a_day_or_refused(text: str) -> None:
    """Whatever stands for a day is either one that a calendar has, or a ValueError."""
    try:
        found = first_day(text)
    except ValueError:
        return
    assert found.isoformat().startswith(text)
