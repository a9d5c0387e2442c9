"""No name leads out of the folder that is served."""

from __future__ import annotations

import pytest

from custom_components.serving import RequestError, file_inside


@pytest.fixture
def folder(tmp_path):
    served = tmp_path / "served"
    (served / "below").mkdir(parents=True)
    for file in (tmp_path / "secret.csv", served / "a.csv", served / "below" / "b.csv", served / ".hidden"):
        file.write_text("X,Y\n1,2\n")
    (served / "out.csv").symlink_to(tmp_path / "secret.csv")
    (served / "in.csv").symlink_to(served / "a.csv")
    (served / "outer").symlink_to(tmp_path)
    return served


@pytest.mark.parametrize("name", ["a.csv", "below/b.csv", "./a.csv"])
def test_files_of_the_folder_are_given(folder, name):
    assert file_inside(folder, name, "points") == (folder / name).resolve()


def test_a_link_within_the_folder_is_followed(folder):
    assert file_inside(folder, "in.csv", "points") == folder / "a.csv"


@pytest.mark.parametrize("name", ["../secret.csv", "below/../../secret.csv", "/etc/passwd", ".hidden", "", ".", ".."])
def test_a_name_that_leads_out_is_refused(folder, name):
    with pytest.raises(RequestError, match=r"^points: .*is not the name of a file in the served folder") as refused:
        file_inside(folder, name, "points")
    assert refused.value.status == 403


@pytest.mark.parametrize("name", ["out.csv", "outer/secret.csv"])
def test_a_link_that_leads_out_is_followed_only_on_request(folder, name):
    with pytest.raises(RequestError, match=r"^points: .*leads out of the served folder") as refused:
        file_inside(folder, name, "points")
    assert refused.value.status == 403
    assert file_inside(folder, name, "points", follow_links=True).name == "secret.csv"


@pytest.mark.parametrize("name", ["absent.csv", "below", "a\0b", "x" * 5000, "%2e%2e/secret.csv", "..\\secret.csv"])
def test_what_is_not_there_is_not_found(folder, name):
    with pytest.raises(RequestError) as refused:
        file_inside(folder, name, "points")
    assert refused.value.status in (403, 404)
    assert len(str(refused.value)) < 200
