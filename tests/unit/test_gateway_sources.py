"""Which sources a user may submit: whole parts below the permitted prefixes, and no tricks."""

from __future__ import annotations

import pytest

from gateway.doors.person import Person, Role
from gateway.sources import permitted
from sluice.errors import ConfigurationError, RequestError
from sluice.settings import Settings, read_settings

USER = Person(1, "Anna", "anna@example.com", Role.USER)
ADMIN = Person(2, "Bert", "bert@example.com", Role.ADMIN)


@pytest.fixture
def settings() -> Settings:
    return read_settings(
        gateway_sources="s3://photos/2024/,s3://photos/2023,s3://photos/one.zip,s3://open",
        gateway_store="s3://uploads/sluice/",
    )


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("s3://photos/2024/", "s3://photos/2024/"),
        ("s3://photos/2024", "s3://photos/2024/"),
        ("s3://photos/2023", "s3://photos/2023/"),
        ("s3://photos/2023/may/", "s3://photos/2023/may/"),
        ("s3://photos/2024/a b+c/", "s3://photos/2024/a b+c/"),
        ("s3://photos/2024/100%/", "s3://photos/2024/100%/"),
        ("s3://photos/2024/holiday.zip", "s3://photos/2024/holiday.zip"),
        ("s3://photos/2024/!/", "s3://photos/2024/!/"),
        ("s3://photos/one.zip", "s3://photos/one.zip"),
        ("s3://open", "s3://open/"),
        ("s3://open/any/where", "s3://open/any/where"),
    ],
)
def test_users_may_submit_what_is_below_a_permitted_prefix(settings: Settings, source: str, kept: str) -> None:
    assert permitted(source, USER, settings) == kept


@pytest.mark.parametrize(
    "source",
    [
        "s3://photos",
        "s3://photos/",
        "s3://photos/20",
        "s3://photos/2024-private/",
        "s3://photos/2024private",
        "s3://photos/2024!/",
        "s3://photos/2023.zip",
        "s3://photos/!/",
        "s3://photos/one.zip2",
        "s3://photos/two.zip",
        "s3://photos/2024/../secret/",
        "s3://photos/2024/..",
        "s3://photos/2024/./",
        "s3://photos/2024//secret/",
        "s3://photos//2024/",
        "s3://photos/2024/%2e%2e/secret/",
        "s3://photos/2024/%2E./secret/",
        "s3://photos/2024%2fx/",
        "s3://photos/2024/%252e%252e/",
        "s3://photos/2024/..\\secret/",
        "s3://photos/2024/a\nb/",
        "s3://photos/2024/\u202e/",
        "s3://photos/2024/\u200b/",
        "s3://photos/2024 /",
        "s3://open-not/",
        "s3://openly/",
        "s3://other/2024/",
        "s3://uploads/sluice/pictures/7/",
        "s3://uploads/",
    ],
)
def test_users_may_submit_nothing_else(settings: Settings, source: str) -> None:
    with pytest.raises(RequestError) as caught:
        permitted(source, USER, settings)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "source", ["S3://photos/2024/", "s3:/photos/2024/", "s3://Photos/2024/", "s3://photos@evil/2024/", "http://x/", ""]
)
def test_what_is_no_source_is_said_to_be_none(settings: Settings, source: str) -> None:
    with pytest.raises(ConfigurationError):
        permitted(source, USER, settings)


@pytest.mark.parametrize("person", [USER, ADMIN])
@pytest.mark.parametrize("source", ["file:///etc/", "file:///"])
def test_folders_are_refused_for_everybody(settings: Settings, person: Person, source: str) -> None:
    with pytest.raises(RequestError, match="s3:// sources only"):
        permitted(source, person, settings)


@pytest.mark.parametrize("source", ["s3://other/", "s3://photos/", "s3://uploads/sluice/"])
def test_admins_may_submit_any_bucket(settings: Settings, source: str) -> None:
    assert permitted(source, ADMIN, settings) == source


@pytest.mark.parametrize("source", ["s3://shared/", "s3://shared", "s3://shared/pic", "s3://shared/pictures/sluice/x"])
def test_what_others_dropped_is_nobodys_source_though_it_is_below_a_permitted_one(source: str) -> None:
    settings = read_settings(gateway_sources="s3://shared", gateway_store="s3://shared/pictures/sluice")
    with pytest.raises(RequestError, match="SLUICE_GATEWAY_STORE"):
        permitted(source, USER, settings)
    assert permitted("s3://shared/2024/", USER, settings) == "s3://shared/2024/"


def test_without_permitted_sources_users_submit_none() -> None:
    with pytest.raises(RequestError, match="none"):
        permitted("s3://photos/", USER, read_settings())


def test_archives_below_a_prefix_are_asked_for_by_the_prefix(settings: Settings) -> None:
    assert permitted("s3://photos/2024", USER, settings, archives=True) == "s3://photos/2024/!/"
