import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tedbench.datasets.manifest import is_blank, is_file, normal, read_rows, safe_join
from tedbench.datasets.pairs import is_file_name, make_uids
from tedbench.errors import DataError

NEED = ("img_name", "target_text")
ROWS = [{"img_name": "a.png", "target_text": "A dog, “sitting”."}, {"img_name": "b.png", "target_text": 'Say "hi".'}]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'img_name,target_text\r\na.png,"A dog, “sitting”."\r\nb.png,"Say ""hi""."\r\n'),
        ("t.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        ("t.json", json.dumps(ROWS, indent=1)),
    ],
)
def test_formats_agree(tmp_path: Path, bom: bytes, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(bom + text.encode())
    assert read_rows(tmp_path / name, NEED) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"img_name,target_text\na.png,caf\xe9\n", "line 2.*0xe9 at offset 30"),
        ("t.csv", b"\xef\xbb\xbfimg_name,target_text\na.png,caf\xe9\n", "line 2.*0xe9 at offset 33"),
        ("t.csv", b"img_name\na.png\n", "no column 'target_text'"),
        ("t.csv", b"img_name,target_text\na.png,x\nb.png,nan\n", "row 2.*target_text is blank"),
        ("t.csv", b"img_name,target_text\na.png, \n", "row 1.*blank"),
        ("t.csv", b"img_name,target_text\na.png,A dog, sitting\n", "line 2: 3 cells"),
        ("t.csv", b"img_name,target_text\na.png\n", "line 2: 1 cells"),
        ("t.csv", b"img_name,img_name,target_text\n", "names a column twice"),
        ("t.csv", b"img_name,target_text\n", "no rows"),
        ("t.csv", b"", "no rows"),
        ("t.csv", b'img_name,target_text\na.png,"open\n', "not valid CSV"),
        ("t.json", b'[{"img_name": "a.png", "target_text": NaN}]', "blank"),
        ("t.json", b'[{"img_name": "a.png", "target_text": null}]', "blank"),
        ("t.json", b'[{"img_name": "a.png"}]', "no column 'target_text'"),
        ("t.json", b'[{"img_name": "a.png", "target_text": "\\ud800"}]', "surrogate"),
        ("t.json", b'{"img_name": "a.png"}', "expected a list"),
        ("t.json", b"[1]", "expected an object"),
        ("t.json", b"[", "not valid JSON"),
        ("t.jsonl", b'{"img_name": "a", "img_name": "b", "target_text": "x"}', "key twice"),
        ("t.jsonl", b'{"img_name": "a", "target_text": "x"}\n\n{', "line 3: not valid JSON"),
        ("t.tsv", b"", "not a table"),
    ],
)
def test_odd_tables_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read_rows(tmp_path / name, NEED)
    assert "\n" not in str(error.value)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "no.csv", NEED)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a\\..\\x",
        "C:\\x",
        "C:x",
        "\\\\host\\x",
        "out/x",
        "loop",
        "a\0b",
    ],
)
def test_safe_join_stays_inside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to("/elsewhere")
    with pytest.raises(DataError):
        safe_join(folder, name)


@pytest.mark.parametrize("name", ["a.png", "b/c.png", "ok/x", "…und so.png", "a..b.png"])
def test_safe_join_allows(tmp_path: Path, name: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "ok").symlink_to("real")
    assert safe_join(tmp_path, name) == tmp_path / name


def test_names_too_long_and_spelt_otherwise(tmp_path: Path) -> None:
    assert not is_file(safe_join(tmp_path, "a" * 5000)) and not is_file(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.png").write_bytes(b"")
    assert is_file(safe_join(tmp_path, "b/c.png"))
    assert [normal(name) for name in ("./b//c.png", "b/./c.png", "b/c.png")] == ["b/c.png"] * 3


def test_the_word_none_is_a_text() -> None:
    assert not is_blank("None") and is_blank(" NaN ") and is_blank("")


@given(st.lists(st.tuples(st.text(max_size=90), st.text(max_size=90)), unique=True, max_size=8))
def test_uids_are_unique_file_names(keys: list[tuple[str, str]]) -> None:
    keys = [(name, text) for name, text in keys if (name + text).isprintable()]
    uids = make_uids(keys)
    assert len({uid.lower() for uid in uids}) == len(keys)
    assert all(is_file_name(uid) for uid in uids)


def test_uids_read_well_and_carry_a_hash_where_they_must() -> None:
    keys = [("a.png", "A dog."), ("a.png", "A dog!"), ("A.png", "A cat."), ("a.png", "A cat."), ("x/y.png", "A’s")]
    uids = make_uids([*keys, ("b.png", "One dog.")])
    assert uids[-1] == "b.png--one-dog"
    assert uids[0].startswith("a.png--a-dog-") and uids[1].startswith("a.png--a-dog-") and uids[0] != uids[1]
    assert uids[4].startswith("x-y.png-") and "--a-s-" in uids[4]
