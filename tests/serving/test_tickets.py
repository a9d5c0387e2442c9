"""Files of tickets: what is read again is what was written, and what is damaged harms nothing."""

from __future__ import annotations

import json

import pytest

from custom_components.common.errors import InputError
from custom_components.serving.tickets import Ticket, TicketStore


def test_a_ticket_is_read_as_it_was_written(tmp_path):
    store = TicketStore(tmp_path / "a" / "b")
    ticket = Ticket("key", "model", "IHC é", "HE", owner="ann", state="done", ended=3.5)
    store.write(ticket, {"result": {"points": [[1.5, 2]]}})
    assert TicketStore(tmp_path / "a" / "b").load() == [ticket]
    assert store.result(ticket) == {"result": {"points": [[1.5, 2]]}}
    store.delete(ticket)
    assert not list(store.folder.iterdir())


def test_a_ticket_tells_times_in_utc_and_nothing_of_other_users():
    told = Ticket("key", "model", "IHC", "HE", owner="ann", created=0.0).described()
    assert told["created"] == "1970-01-01T00:00:00+00:00"
    assert told["started"] is None
    assert not {"owner", "key", "status"} & set(told)


def test_damaged_files_and_what_belongs_to_no_ticket_are_passed_over(tmp_path):
    store = TicketStore(tmp_path)
    good, other = Ticket("key", "model", "IHC", "HE", created=2.0), Ticket("gone", "m", "a", "b", state="done")
    for ticket in (good, other):
        store.write(ticket)
        store.write_job(ticket.key, {"moving": "IHC"})
    (tmp_path / "0.json").write_text("{")
    (tmp_path / "1.json").write_text(json.dumps({"id": "../../etc/passwd", "key": "k"}))
    (tmp_path / "2.json").write_text("[]")
    (tmp_path / ".half.json").write_text("{")
    (tmp_path / "nobody.result").write_text("{}")
    assert {ticket.id for ticket in store.load()} == {good.id, other.id}
    assert {file.name for file in tmp_path.iterdir() if file.suffix != ".json"} == {"key.job"}
    assert store.read_job("key") == {"moving": "IHC"}
    assert not (tmp_path / ".half.json").exists()


def test_a_folder_belongs_to_one_server(tmp_path):
    first = TicketStore(tmp_path)
    first.claim()
    with pytest.raises(InputError, match="another server uses"):
        TicketStore(tmp_path).claim()
    assert first.load() == []
    first._lock.close()  # as the end of its process does
    TicketStore(tmp_path).claim()
