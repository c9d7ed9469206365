"""Who may see which job: the query, the rule in Python, and the answer for jobs of others."""

from __future__ import annotations

import itertools
from dataclasses import replace

from sluice.ledger import Database, LedgerCursor, jobs, owners, pictures
from sluice.ledger.pictures import ANONYMOUS, Picture
from tests.support.ledger_rows import register

ANNA, BERT, ADMIN = 1, 2, 3


def dropped(user_id: int) -> Picture:
    return Picture(user_id, 1, "s3://own/", b"a", "e", 1, b"\x01" * 32, "a.jpg", (("cat", 0.9),), "gateway")


def make_jobs(cursor: LedgerCursor) -> dict[str, int]:
    """Insert a job of each kind; return their ids by owner."""
    register(cursor)
    made = {"nobody": jobs.submit(cursor, "s3://shared")}
    for name, person in (("anna", ANNA), ("bert", BERT)):
        cursor.memory.clear()
        made[name] = owners.submit_for(cursor, person, f"s3://{name}")
    cursor.memory.clear()
    made["anybody's upload"] = owners.submit_for(cursor, ANONYMOUS, "s3://uploads/a.zip", shared=False)
    for name, person in (("anna's pictures", ANNA), ("anybody's pictures", ANONYMOUS)):
        (object_id,) = pictures.record(cursor, [dropped(person)])
        found = owners.job_of_object(cursor, object_id, ADMIN, is_admin=True)
        assert found is not None
        made[name] = found.job.id
    return made


def test_people_see_their_own_jobs_and_nobodys_and_admins_see_all(ledger: Database) -> None:
    made = ledger.run(make_jobs)
    seen = {
        ANNA: {"nobody", "anna", "anna's pictures"},
        BERT: {"nobody", "bert"},
        ANONYMOUS: {"nobody"},
    }
    for person, names in seen.items():
        found = ledger.run(owners.visible, person, is_admin=False)
        assert [each.job.id for each in found] == sorted((made[name] for name in names), reverse=True)
    assert len(ledger.run(owners.visible, ADMIN, is_admin=True)) == len(made)


def test_the_rule_in_python_is_the_rule_in_sql(ledger: Database) -> None:
    made = ledger.run(make_jobs)
    lately = ledger.run(owners.lately, 100)
    assert [each.job.id for each in lately] == sorted(made.values(), reverse=True)
    for each, person, is_admin in itertools.product(lately, (ANONYMOUS, ANNA, BERT), (False, True)):
        found = ledger.run(owners.find, each.job.id, person, is_admin=is_admin)
        assert (found is not None) == each.is_visible(person, is_admin=is_admin)


def test_only_owners_and_admins_change_a_job(ledger: Database) -> None:
    made = ledger.run(make_jobs)
    by_id = {each.job.id: each for each in ledger.run(owners.lately, 100)}
    may = {
        (name, person)
        for name, job_id in made.items()
        for person in (ANONYMOUS, ANNA, BERT)
        if by_id[job_id].may_change(person, is_admin=False)
    }
    assert may == {("anna", ANNA), ("anna's pictures", ANNA), ("bert", BERT)}
    assert all(each.may_change(ADMIN, is_admin=True) for each in by_id.values())


def test_pages_of_jobs_follow_each_other_without_gaps(ledger: Database) -> None:
    made = ledger.run(make_jobs)
    found, before = list[int](), 2**32
    while page := ledger.run(owners.visible, ADMIN, is_admin=True, before_id=before, limit=2):
        found += [each.job.id for each in page]
        before = found[-1]
    assert found == sorted(made.values(), reverse=True)


def test_an_object_is_seen_with_its_job(ledger: Database) -> None:
    ledger.run(make_jobs)
    (object_id,) = ledger.run(pictures.record, [dropped(ANNA)])
    assert ledger.run(owners.job_of_object, object_id, ANNA, is_admin=False) is not None
    assert ledger.run(owners.job_of_object, object_id, BERT, is_admin=False) is None
    assert ledger.run(owners.job_of_object, object_id + 1000, ANNA, is_admin=True) is None


def test_pictures_of_strangers_stay_unseen_when_pictures_are_kept_elsewhere(ledger: Database) -> None:
    """The job that held them ends, and is an ordinary one from then on: of nobody whom others could look at."""
    made = ledger.run(make_jobs)
    for person in (ANNA, ANONYMOUS):
        ledger.run(pictures.record, [replace(dropped(person), source="s3://elsewhere/")])
    for name, who in (("anna's pictures", {ANNA}), ("anybody's pictures", set[int]())):
        seen = {p for p in (ANNA, BERT, ANONYMOUS) if ledger.run(owners.find, made[name], p, is_admin=False)}
        assert seen == who, name
    (back,) = ledger.run(pictures.record, [dropped(ANONYMOUS)])
    found = ledger.run(owners.job_of_object, back, ADMIN, is_admin=True)
    assert found is not None
    assert found.job.id == made["anybody's pictures"], "they go on there if it is kept there again"


def test_a_picture_is_renamed_however_soon_it_comes_again(ledger: Database) -> None:
    """Two requests within a millisecond set the same: the row is there all the same, and isn't recorded twice."""

    def rename_twice(cursor: LedgerCursor) -> list[bool]:
        register(cursor)
        (object_id,) = pictures.record(cursor, [dropped(ANNA)])
        cursor.execute("SET timestamp = UNIX_TIMESTAMP(NOW(3))")  # the session's clock stands still
        try:
            return [pictures.rename(cursor, object_id, "b.jpg") for _ in range(2)]
        finally:
            cursor.execute("SET timestamp = DEFAULT")

    assert ledger.run(rename_twice) == [True, True]
    assert ledger.run(pictures.newest, ANNA, "b.jpg") is not None
