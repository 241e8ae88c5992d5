"""Files become a data set through the command line: found out, planned, from a recipe, refused."""

import gzip
import json
import re
import shlex
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from store_dump import dump

from patchrec.data.recipe import known_recipes
from patchrec.store import Store
from patchrec_cli import app

COMMANDS = cache(app.get_command)
ORDERS = """customer_id,sku,timestamp,stars,event
Zoé,A1,1700000001,5,buy
Zoé,B2,1700000002,4,buy
Bob,A1,1700000003,3,view
Bob,C3,1700000004,2,buy
Zoé,C3,1700000005,1,buy
Ann,C3,1700000006,5,buy
Ann,A1,1700000007,4,view
Ann,B2,1700000008,4,buy
"""
GOODS = """sku,product_name,colour
A1,"Vest, wide",red
B2,Söck,
C3,Hat,blue
"""
TITLED = """user_id,item_id,title,timestamp
a,1,Alien,1700000001
a,2,Big,1700000002
b,1,Alien,1700000003
b,3,Cars,1700000004
"""
Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def _commands_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the time of a call goes into making all commands, which are the same every time."""
    monkeypatch.setattr(app, "get_command", COMMANDS)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def parquet(path: Path, select: str) -> Path:
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "orders.csv", ORDERS), write(tmp_path / "products.csv", GOODS)]


def shown(cli: Cli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cli("data", "show", name, "--json").json["dataset"]
    return found


def held(tmp_path: Path) -> object:
    """Everything in the store."""
    with Store.open(tmp_path / "home") as store:
        return dump(store)


def flat(text: str) -> str:
    return " ".join(text.split())


def plan_of(cli: Cli, *arguments: object) -> dict[str, Any]:
    ran = cli("data", "add", "shop", *arguments, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json["plan"]
    return found


def roles(plan: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        table["what"]: {one["role"]: one["name"] for one in table["columns"] if one["role"]} for table in plan["tables"]
    }


# ---------------------------------------------------------------- accounts, as they are shown


def test_what_became_of_every_row_is_shown(cli, files, tmp_path):
    write(files[0], ORDERS + "Ann,X9,1700000009,5,buy\nAnn,A1,soon,5,buy\n,A1,1700000009,5,buy\nNA,A1,1,5,buy\n")
    write(files[1], GOODS + "C3,Hat again,\nD4,,green\n")
    ran = cli(
        "data", "add", "shop", "--interactions", files[0], "--items", files[1], "--user-col", "customer_id",
        "--item-col", "sku", "--title-col", "product_name", "--rows", "event = 'buy'", "--missing", "NA",
        "--duplicate-items", "first", "--untitled", "drop", "--skip-bad", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    account = {
        "interactions": {
            "read": 12,
            "kept": 6,
            "rejected": {
                "item ... is not among the items": 1,
                "timestamp ... is no time that is known": 1,
                "customer_id is blank": 1,
            },
            "left_out": {"another row (--rows)": 2, "the user is missing (--missing)": 1},
        },
        "items": {
            "read": 5,
            "kept": 3,
            "rejected": {},
            "left_out": {
                "an item's id again (--duplicate-items first)": 1,
                "an item without title (--untitled drop)": 1,
            },
        },
    }
    assert ran.json["dataset"]["split"]["account"] == account
    assert shown(cli, "shop")["split"]["account"] == account
    assert shown(cli, "shop")["summary"]["interactions"] == 6
    for line in (
        "skipped orders.csv:10: item 'X9' is not among the items",
        "skipped orders.csv:12: customer_id is blank",
        "left out 2 interactions: another row (--rows)",
        "left out 1 interaction: the user is missing (--missing)",
        "left out 1 item: an item's id again (--duplicate-items first)",
        "left out 1 item: an item without title (--untitled drop)",
    ):
        assert line in ran.err.splitlines()
    told = flat(cli("data", "show", "shop").out)
    for words in (
        "interactions read 12; 6 kept; 1 item ... is not among the items; ",
        "2 another row (--rows); 1 the user is missing (--missing)",
        "items read 5; 3 kept; 1 an item's id again (--duplicate-items first); 1 an item without title "
        "(--untitled drop)",
    ):
        assert words in told


def test_an_account_of_rows_that_were_all_kept_is_not_shown(cli, files):
    assert cli("data", "add", "shop", *files).code == 0
    assert shown(cli, "shop")["split"]["account"]["interactions"] == {
        "read": 8, "kept": 8, "rejected": {}, "left_out": {},
    }  # fmt: skip
    assert "kept;" not in cli("data", "show", "shop").out


# ---------------------------------------------------------------- which file is which


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_which_file_is_which_is_found_out(cli, files, order):
    plan = plan_of(cli, *(files[place] for place in order))
    assert [(table["what"], table["files"]) for table in plan["tables"]] == [
        ("interactions", ["orders.csv"]),
        ("items", ["products.csv"]),
    ]
    assert roles(plan) == {
        "interactions": {"user": "customer_id", "item": "sku", "time": "timestamp", "rating": "stars"},
        "items": {"item": "sku", "title": "product_name"},
    }
    assert (plan["num_rows"], plan["num_users"], plan["num_items"]) == (8, 3, 3)
    assert plan["times"] == [1700000001000, 1700000008000]
    assert (plan["rejected"], plan["fault"]) == ({}, None)


def test_one_file_alone_has_its_titles_inside(cli, tmp_path):
    ran = cli("data", "add", "shop", write(tmp_path / "log.csv", TITLED), "--json")
    assert ran.code == 0
    assert (ran.json["dataset"]["summary"]["items"], ran.json["dataset"]["summary"]["titles"]) == (3, 3)
    assert "--title-col title" in ran.err


def test_one_file_without_titles_has_ids_for_titles_and_says_so(cli, tmp_path):
    plan = plan_of(cli, write(tmp_path / "log.csv", "user_id,item_id\na,1\nb,2\n"))
    assert plan["recipe"]["untitled"] == "id"
    assert "--untitled id" in plan["command"]


def test_several_logs_are_read_in_the_order_in_which_they_are_named(cli, tmp_path):
    paths = [write(tmp_path / f"{n}.csv", f"user_id,item_id\na,{n}\nb,{n}\n") for n in (2, 1, 3)]
    items = write(tmp_path / "goods.csv", "item_id,title\n1,A\n2,B\n3,C\n")
    plan = plan_of(cli, paths[0], items, *paths[1:])
    assert plan["tables"][0]["files"] == ["2.csv", "1.csv", "3.csv"]
    assert cli("data", "add", "shop", paths[0], items, *paths[1:]).code == 0
    lines = cli("data", "export", "shop").out.splitlines()
    assert [json.loads(line)["history"] + [json.loads(line)["item_id"]] for line in lines] == [["2", "1", "3"]] * 2


def zipped(folder: Path) -> Path:
    path = folder / "shop.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("orders.csv", ORDERS)
    return path


GOODS_JSON = "".join(
    json.dumps(row, ensure_ascii=False) + "\n"
    for row in [
        {"sku": "A1", "product_name": "Vest, wide", "colour": "red"},
        {"sku": "B2", "product_name": "Söck", "colour": ""},
        {"sku": "C3", "product_name": "Hat", "colour": "blue"},
    ]
)
ORDERS_JSON = "".join(
    json.dumps(dict(zip(ORDERS.split("\n", 1)[0].split(","), line.split(","), strict=True)), ensure_ascii=False) + "\n"
    for line in ORDERS.splitlines()[1:]
)
PARQUET_GOODS = (
    "SELECT * FROM (VALUES ('A1', 'Vest, wide', 'red'), ('B2', 'Söck', ''), ('C3', 'Hat', 'blue')) "
    "AS t(sku, product_name, colour)"
)
SEMICOLONS = GOODS.replace('"Vest, wide"', "Vest/ wide").replace(",", ";").replace("/", ",")
OF_TABS = GOODS.replace('"Vest, wide"', "Vest/ wide").replace(",", "\t").replace("/", ",")
VARIANTS: dict[str, Callable[[Path], list[Path]]] = {
    "commas": lambda at: [write(at / "o.csv", ORDERS), write(at / "g.csv", GOODS)],
    "semicolons": lambda at: [write(at / "o.csv", ORDERS.replace(",", ";")), write(at / "g.csv", SEMICOLONS)],
    "semicolons and commas": lambda at: [write(at / "o.csv", ORDERS.replace(",", ";")), write(at / "g.csv", GOODS)],
    "commas and semicolons": lambda at: [write(at / "o.csv", ORDERS), write(at / "g.csv", SEMICOLONS)],
    "tabs": lambda at: [write(at / "o.tsv", ORDERS.replace(",", "\t")), write(at / "g.tsv", OF_TABS)],
    "tabs in text files": lambda at: [write(at / "o.txt", ORDERS.replace(",", "\t")), write(at / "g.txt", OF_TABS)],
    "tabs in CSV files": lambda at: [write(at / "o.csv", ORDERS.replace(",", "\t")), write(at / "g.csv", OF_TABS)],
    "double colons": lambda at: [write(at / "o.dat", ORDERS.replace(",", "::")), write(at / "g.csv", GOODS)],
    "bars": lambda at: [write(at / "o.csv", ORDERS.replace(",", "|")), write(at / "g.csv", GOODS)],
    "latin-1": lambda at: [write(at / "o.csv", ORDERS, "latin-1"), write(at / "g.csv", GOODS, "latin-1")],
    "latin-1 interactions": lambda at: [write(at / "o.csv", ORDERS, "latin-1"), write(at / "g.csv", GOODS)],
    "latin-1 items": lambda at: [write(at / "o.csv", ORDERS), write(at / "g.csv", GOODS, "latin-1")],
    "UTF-16": lambda at: [write(at / "o.csv", ORDERS, "utf-16"), write(at / "g.csv", GOODS, "utf-16")],
    "a byte order mark": lambda at: [write(at / "o.csv", ORDERS, "utf-8-sig"), write(at / "g.csv", GOODS, "utf-8-sig")],
    "JSON": lambda at: [write(at / "o.jsonl", ORDERS_JSON), write(at / "g.jsonl", GOODS_JSON)],
    "JSON without ending": lambda at: [write(at / "o", ORDERS_JSON), write(at / "g", GOODS_JSON)],
    "JSON items": lambda at: [write(at / "o.csv", ORDERS.replace(",", ";")), write(at / "g.jsonl", GOODS_JSON)],
    "JSON interactions": lambda at: [write(at / "o.jsonl", ORDERS_JSON), write(at / "g.csv", SEMICOLONS)],
    "a JSON array": lambda at: [
        write(at / "o.json", "[" + ",".join(ORDERS_JSON.splitlines()) + "]"), write(at / "g.csv", GOODS),
    ],
    "Parquet items": lambda at: [write(at / "o.csv", ORDERS), parquet(at / "g.parquet", PARQUET_GOODS)],
    "Parquet items of a latin-1 log": lambda at: [
        write(at / "o.csv", ORDERS, "latin-1"), parquet(at / "g.parquet", PARQUET_GOODS),
    ],
    "Parquet items of semicolons": lambda at: [
        write(at / "o.csv", ORDERS.replace(",", ";")), parquet(at / "g.parquet", PARQUET_GOODS),
    ],
    "Parquet interactions": lambda at: [
        parquet(at / "o.parquet", f"SELECT * FROM read_csv('{write(at / 'raw.csv', ORDERS)}', all_varchar = true)"),
        write(at / "g.csv", GOODS),
    ],
    "packed": lambda at: [write(at / "o.csv.gz", ORDERS), write(at / "g.csv.gz", GOODS)],
    "packed, latin-1, semicolons": lambda at: [
        write(at / "o.csv.gz", ORDERS.replace(",", ";"), "latin-1"), write(at / "g.csv", GOODS),
    ],
    "a folder": lambda at: [write(at / "logs" / "o.csv", ORDERS).parent, write(at / "g.csv", GOODS)],
    "an archive": lambda at: [zipped(at), write(at / "g.csv", GOODS)],
    "odd names": lambda at: [write(at / "it's an order.csv", ORDERS), write(at / "-g $x;.csv", GOODS)],
    "quoted fields": lambda at: [
        write(at / "o.csv", ORDERS.replace("Zoé", '"Zoé"')),
        write(at / "g.csv", GOODS.replace("Hat", '"Hat ""H"", a; b"')),
    ],
    "Windows lines": lambda at: [
        write(at / "o.csv", ORDERS.replace("\n", "\r\n")), write(at / "g.csv", GOODS.replace("\n", "\r\n")),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "turned"),
    [(variant, place % 2 == 1) for place, variant in enumerate(VARIANTS)] + [("commas", True), ("latin-1 items", True)],
)
def test_the_printed_command_gives_the_data_set_that_was_found_out(cli, tmp_path, monkeypatch, variant, turned):
    paths = VARIANTS[variant](tmp_path)
    monkeypatch.chdir(tmp_path)  # a file may be named so that it reads as an option
    ran = cli("data", "add", "guessed", *(paths[::-1] if turned else paths))
    assert ran.code == 0, ran.err
    command = shlex.split(ran.err.splitlines()[0].removeprefix("understood as: "))
    assert command[:4] == ["patchrec", "data", "add", "guessed"]
    wrote = cli(*command[1:3], "wrote", *command[4:])
    assert wrote.code == 0, wrote.err
    with Store.open(tmp_path / "home") as store:
        one, other = (store.datasets.show(name) for name in ("guessed", "wrote"))
        dataset = store.datasets.load("guessed")
    assert one["fingerprints"] == other["fingerprints"]
    assert one["split"] == other["split"]
    hat = 'Hat "H", a; b' if variant == "quoted fields" else "Hat"
    assert dict(zip(dataset.catalog.item_ids, dataset.catalog.titles, strict=True)) == {
        "A1": "Vest, wide", "B2": "Söck", "C3": hat,
    }  # fmt: skip
    assert dataset.sequences.user_ids == ("Zoé", "Bob", "Ann")
    assert [len(dataset.sequences.items_of(user)) for user in range(3)] == [3, 2, 3]


def test_the_printed_command_is_of_the_store_that_was_named(cli, files, tmp_path):
    ran = cli("--home", tmp_path / "other", "data", "add", "shop", *files)
    assert ran.code == 0
    assert ran.err.splitlines()[0].startswith(f"understood as: patchrec --home {tmp_path / 'other'} data add shop ")


OPTIONS = [
    ["--split", "ratio", "--train", "0.5", "--validation", "0.25"],
    ["--split", "leave-one-out"],
    ["--skip-bad"],
    ["--missing", "-1", "--missing", "NA", "--repeats", "first"],
    ["--rows", "event = 'buy' and stars > 1", "--min-rating", "2"],
    ["--title", "{product_name} ({colour})"],
    ["--noun", "good thing", "--verb", "has bought"],
    ["--core", "2", "--min-history", "2", "--sample-users", "2", "--seed", "7"],
    ["--cold-items", "0.4", "--seed", "1"],
    ["--order-col", "stars", "--time-format", "s"],
    ["--item-pattern", r"[A-Z]\d"],
    ["--untitled", "id", "--duplicate-items", "last"],
    ["--rating-col", "timestamp"],
    ["--columns", "user,sku,moment,stars,event", "--time-col", "moment"],
    ["--quotes", "group"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_the_printed_command_has_every_option_that_was_given(cli, files, tmp_path, options):
    ran = cli("data", "add", "guessed", *files, *options)
    assert ran.code == 0, ran.err
    command = shlex.split(ran.err.splitlines()[0].removeprefix("understood as: "))
    planned = shlex.split(plan_of(cli, *files, *options)["command"])
    assert planned[4:] == command[4:]
    wrote = cli(*command[1:3], "wrote", *command[4:])
    assert wrote.code == 0, wrote.err
    with Store.open(tmp_path / "home") as store:
        one, other = (store.datasets.show(name) for name in ("guessed", "wrote"))
    for key in ("fingerprints", "split", "noun", "verb", "summary"):
        assert one[key] == other[key], key


@pytest.mark.parametrize("written", ["\t", "\\t"], ids=["a tab", "as a shell takes it"])
def test_tabs_are_named_as_a_separator(cli, tmp_path, written):
    """The hint says --sep '\\t', which a shell passes on as a backslash and a t."""
    log = write(tmp_path / "log.csv", TITLED.replace(",", "\t"))
    told = cli("data", "add", "shop", "--interactions", log, "--title-col", "title")
    assert told.code == 3
    assert r"--sep '\t'" in told.err
    ran = cli("data", "add", "shop", "--interactions", log, "--title-col", "title", "--sep", written)
    assert ran.code == 0, ran.err


def test_rejected_rows_are_written_for_files_that_are_found_out_too(cli, files, tmp_path):
    write(files[0], ORDERS + "Ann,X9,1700000009,5,buy\n")
    assert cli("data", "add", "shop", *files, "--rejects", tmp_path / "bad.csv").code == 0
    assert (tmp_path / "bad.csv").read_text().splitlines()[1].startswith("orders.csv,10,item 'X9' is not among the")


def test_own_files_may_have_the_name_of_a_recipe(cli, files):
    planned = cli("data", "add", "steam", *files, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert roles(planned.json["plan"])["interactions"]["user"] == "customer_id"
    ran = cli("data", "add", "steam", *files)
    assert ran.code == 0, ran.err


HEADERLESS = "7,11,1700000000\n7,12,1700000001\n8,11,1700000002\n"
NAMED_GOODS = "item_id,title\n11,Alien\n12,Big\n"


@pytest.mark.parametrize("text", [HEADERLESS, "Zoé,A1,2024-01-31\nBob,B2,2024-02-01\n", "a::1::5::1700000000\n"])
@pytest.mark.parametrize("alone", [True, False])
def test_files_without_header_are_refused_with_the_way_on(cli, tmp_path, text, alone):
    paths = [write(tmp_path / "log.csv", text), *([] if alone else [write(tmp_path / "goods.csv", NAMED_GOODS)])]
    ran = cli("data", "add", "shop", *paths)
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1
    assert "--no-header" in ran.err
    assert "--columns" in ran.err


@pytest.mark.parametrize("turned", [False, True])
def test_columns_of_a_log_without_header_are_not_those_of_the_items(cli, tmp_path, turned):
    paths = [write(tmp_path / "log.csv", HEADERLESS), write(tmp_path / "goods.csv", NAMED_GOODS)]
    options = ["--no-header", "--columns", "user_id,item_id,timestamp"]
    ran = cli("data", "add", "shop", *(paths[::-1] if turned else paths), *options, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["dataset"]["summary"]["interactions"], ran.json["dataset"]["summary"]["titles"]) == (3, 2)
    assert ran.json["dataset"]["source"] == "log.csv and goods.csv"


def test_a_log_without_header_is_found_out_once_its_columns_are_named(cli, tmp_path):
    path = write(tmp_path / "log.csv", HEADERLESS)
    plan = plan_of(cli, path, "--no-header", "--columns", "user_id,item_id,timestamp")
    assert roles(plan) == {"interactions": {"user": "user_id", "item": "item_id", "time": "timestamp"}}
    assert plan["num_rows"] == 3
    assert "--no-header --columns user_id,item_id,timestamp" in plan["command"]


def test_a_quoted_separator_does_not_hide_the_columns(cli, tmp_path):
    """A semicolon within a title: the lines have not all the same number of them."""
    goods = write(tmp_path / "goods.csv", 'item_id;title;year\n11;"Alien; again";1979\n12;Big;1988\n')
    log = write(tmp_path / "log.csv", "user_id;item_id\na;11\na;12\nb;11\n")
    ran = cli("data", "add", "shop", log, goods, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["dataset"]["summary"]["titles"] == 2


def test_interactions_named_by_option_and_a_file_go_together(cli, files):
    plan = plan_of(cli, files[1], "--interactions", files[0])
    assert [table["what"] for table in plan["tables"]] == ["interactions", "items"]
    assert roles(plan)["items"] == {"item": "sku", "title": "product_name"}


# ---------------------------------------------------------------- plans


def test_a_plan_stores_nothing(toy_cli, files, tmp_path):
    before = held(tmp_path)
    for extra in ([], ["--json"], ["-q"]):
        assert toy_cli("data", "add", "shop", *files, "--dry-run", *extra).code == 0
    assert held(tmp_path) == before
    assert toy_cli("data", "ls", "-q").out == "toy\n"


def test_a_plan_makes_no_store(cli, files, tmp_path):
    assert cli("data", "add", "shop", *files, "--dry-run").code == 0
    assert not (tmp_path / "home").exists()


def test_a_plan_says_what_files_hold(cli, tmp_path):
    log = write(tmp_path / "orders.csv", ORDERS.replace(",", ";") + "Ann;X9;1700000009;5;buy\n;A1;1700000010;5;buy\n")
    goods = write(tmp_path / "products.csv", GOODS, "latin-1")
    ran = cli("data", "add", "shop", goods, log, "--dry-run")
    assert ran.code == 0
    assert ran.err == ""
    assert max(map(len, ran.out.splitlines())) <= 80
    told = flat(ran.out)
    for words in (
        "interactions: orders.csv (csv, separated by ';', utf-8)",
        "items: products.csv (csv, separated by ',', cp1252)",
        "customer_id user Zoé | Bob | Ann",
        "sku item A1 | B2 | C3",
        "timestamp time 1700000001 | 1700000002 | 1700000003",
        "stars rating 5 | 4 | 3",
        "event - buy | view",
        "product_name title Vest, wide | Söck | Hat",
        "colour - red | blue",
        "10 interactions, 3 users, 3 items",
        "times 2023-11-14 22:13 to 2023-11-14 22:13",
        "1 item ... is not among the items",
        "1 customer_id is blank",
        "--skip-bad",
        "--sep ';'",
        "--items-encoding cp1252",
    ):
        assert words in told


def test_a_plan_has_stable_keys(cli, files):
    ran = cli("data", "add", "shop", *files, "--dry-run", "--json")
    assert ran.err == ""
    assert set(ran.json) == {"schema", "plan"}
    plan = ran.json["plan"]
    assert set(plan) == {
        "name", "command", "recipe", "tables", "num_rows", "num_users", "num_items", "times", "rejected", "notices",
        "fault",
    }  # fmt: skip
    for table in plan["tables"]:
        assert set(table) == {"what", "files", "format", "sep", "encoding", "columns"}
        for column in table["columns"]:
            assert set(column) == {"name", "role", "examples"}
            assert len(column["examples"]) <= 3
    assert plan["command"].startswith("patchrec data add shop --interactions ")
    for option in ("--items", "--format csv", "--user-col customer_id", "--item-col sku", "--items-id-col sku",
                   "--time-col timestamp", "--rating-col stars", "--title-col product_name"):  # fmt: skip
        assert f" {option}" in plan["command"]


def test_a_quiet_plan_is_its_command(cli, files):
    ran = cli("data", "add", "shop", *files, "--dry-run", "-q")
    assert ran.out == plan_of(cli, *files)["command"] + "\n"
    assert ran.err == ""


def test_a_plan_tells_what_speaks_against_it(cli, files):
    write(files[0], ORDERS + "Ann,X9,1700000009,5,buy\n")
    plan = plan_of(cli, *files)
    assert plan["rejected"] == {"item ... is not among the items": 1}
    assert plan["fault"].startswith("orders.csv:10: item 'X9' is not among the items; ")
    assert "--skip-bad" in plan["fault"]
    plan = plan_of(cli, *files, "--skip-bad")
    assert (plan["rejected"], plan["fault"]) == ({"item ... is not among the items": 1}, None)


def test_a_plan_tells_a_fault_with_the_option_that_mends_it(cli, files):
    write(files[0], ORDERS + ORDERS.splitlines()[1] + "\n")
    fault = plan_of(cli, *files)["fault"]
    assert "the same user, item and time as line 2" in fault
    assert "--repeats" in fault


def test_a_plan_looks_at_every_file(cli, tmp_path):
    logs = [write(tmp_path / f"{n}.csv", "user_id,item_id\na,11\nb,12\n") for n in (1, 2)]
    goods = write(tmp_path / "goods.csv", NAMED_GOODS)
    assert plan_of(cli, *logs, goods)["num_rows"] == 4
    write(logs[1], "user_id,item_id\na,99\n")
    assert "'99'" in str(plan_of(cli, *logs, goods)["fault"])


def test_a_plan_counts_items_that_cannot_be_used(cli, files):
    write(files[1], GOODS + ",nothing,\nA1,again,\n")
    plan = plan_of(cli, *files)
    assert plan["rejected"] == {"items: sku is blank": 1, "items: item ... was on line N already": 1}
    assert plan["fault"].startswith("products.csv:5: sku is blank")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.csv"], 3, ["no file", "nowhere.csv"]),
        (["empty.csv"], 3, ["empty.csv", "is empty"]),
        (["noise.parquet"], 3, ["noise.parquet", "Parquet"]),
        (["noise.csv.gz"], 3, ["noise.csv.gz", "damaged"]),
        (["products.csv"], 3, ["--interactions FILE", "--user-col"]),
        ([], 2, ["--interactions FILE"]),
        (["orders.csv", "--title", "{colour}", "--title-col", "colour"], 2, ["--title and --title-col"]),
        (["orders.csv", "--split", "leave-one-out", "--train", "0.5"], 2, ["leave-one-out"]),
        (["orders.csv", "--train", "0.5"], 2, ["--split"]),
        (["orders.csv", "--core", "0"], 2, ["--core"]),
        (["orders.csv", "--sep", ""], 2, ["--sep"]),
        (["orders.csv", "--no-header"], 2, ["--columns"]),
        (["orders.csv", "--user-col", "nobody"], 3, ["'nobody'", "--user-col"]),
        (["orders.csv", "products.csv", "--title-col", "nothing"], 3, ["'nothing'", "--title-col"]),
        (["orders.csv", "--encoding", "utf-9"], 2, ["'utf-9'", "--encoding"]),
        (["orders.csv", "--rows", "evnt = 1"], 2, ["--rows", "'event'"]),
        (["orders.csv", "--item-pattern", "("], 2, ["--item-pattern"]),
        (["orders.csv", "--time-format", "%Q"], 2, ["--time-format"]),
        (["orders.csv", "orders.csv"], 2, ["twice"]),
        (["--recipe", "nowhere.toml"], 3, ["nowhere.toml"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value else None,
)  # fmt: skip
@pytest.mark.parametrize("planned", [True, False], ids=["planned", "added"])
def test_what_cannot_be_read_or_asked_for_is_refused_in_one_line(
    toy_cli, files, tmp_path, monkeypatch, arguments, code, words, planned
):
    write(tmp_path / "empty.csv", "")
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "noise.csv.gz").write_bytes(b"no")
    monkeypatch.chdir(tmp_path)
    before = held(tmp_path)
    ran = toy_cli("data", "add", "shop", *arguments, *(["--dry-run"] if planned else []))
    lines = [line for line in ran.err.splitlines() if not line.startswith("understood as: ")]
    assert (ran.code, ran.out, len(lines)) == ((code if arguments or planned else 4), "", 1), ran.err
    for word in words:
        assert word in lines[0]
    assert "bug in patchrec" not in ran.err
    assert held(tmp_path) == before


# ---------------------------------------------------------------- recipes

RECIPE = """\
licence = "ours"
noun = "good"
interactions = "logs/*.csv"
items = "products.csv"
user-col = "customer_id"
item-col = "sku"
title-col = "product_name"
rows = "event = 'buy'"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write(tmp_path / "shop" / "logs" / "orders.csv", ORDERS)
    write(tmp_path / "shop" / "products.csv", GOODS)
    return write(tmp_path / "shop" / "shop.toml", RECIPE)


def test_a_recipe_says_everything(cli, recipe, tmp_path, monkeypatch):
    """Its paths are relative to its folder, not to where one stands."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for named in (recipe, Path("..") / "shop" / "shop.toml"):
        ran = cli("data", "add", "shop", "--recipe", named, "--json")
        assert ran.code == 0, ran.err
        found = ran.json["dataset"]
        assert (found["licence"], found["noun"], found["summary"]["interactions"]) == ("ours", "good", 6)
        assert found["source"] == "orders.csv and products.csv"
        cli("data", "rm", "shop")


def test_a_recipe_is_planned_from_its_folder(cli, recipe, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plan = plan_of(cli, "--recipe", recipe)
    assert plan["num_rows"] == 8
    wrote = cli(*shlex.split(plan["command"])[1:])
    assert wrote.code == 0, wrote.err
    cli("data", "add", "again", "--recipe", recipe)
    assert shown(cli, "shop")["fingerprints"] == shown(cli, "again")["fingerprints"]


def test_the_files_of_a_recipe_may_lie_elsewhere(cli, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "moved"
    (tmp_path / "shop").rename(moved)
    alone = write(tmp_path / "alone" / "shop.toml", RECIPE)
    ran = cli("data", "add", "shop", "--recipe", alone, "--from", moved)
    assert ran.code == 0, ran.err
    assert shown(cli, "shop")["summary"]["interactions"] == 6


def test_the_command_line_wins_over_a_recipe(cli, recipe, tmp_path):
    other = write(tmp_path / "other.csv", "customer_id,sku,event\nX,A1,view\nX,B2,view\n")
    ran = cli(
        "data", "add", "shop", "--recipe", recipe, "--noun", "thing", "--rows", "event = 'view'", "--json",
        "--interactions", other,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = ran.json["dataset"]
    assert (found["noun"], found["licence"], found["summary"]["interactions"]) == ("thing", "ours", 2)
    assert found["source"] == "other.csv and products.csv"


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("option", ["--interactions", "--items"])
def test_files_of_the_command_line_are_where_one_stands(cli, recipe, tmp_path, monkeypatch, option, planned):
    """Those that the recipe names beside them are still where the recipe is."""
    text = "customer_id,sku,event\nX,A1,buy\nX,B2,buy\n" if option == "--interactions" else GOODS.replace("Hat", "Cap")
    write(tmp_path / "elsewhere" / "other.csv", text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    arguments = ["data", "add", "shop", "--recipe", recipe, option, "other.csv"]
    ran = cli(*arguments, *(["--dry-run"] if planned else []), "--json")
    assert ran.code == 0, ran.err
    if planned:
        files = {table["what"]: table["files"] for table in ran.json["plan"]["tables"]}
        assert (ran.json["plan"]["fault"], files[option[2:]]) == (None, ["other.csv"])
    else:
        assert "other.csv" in ran.json["dataset"]["source"]


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ([], {"rule": "ratio", "train": 0.5, "validation": 0.25}),
        (["--train", "0.7"], {"rule": "ratio", "train": 0.7, "validation": 0.25}),
        (["--validation", "0.1"], {"rule": "ratio", "train": 0.5, "validation": 0.1}),
        (["--split", "temporal"], {"rule": "temporal"}),
        (["--split", "temporal", "--train", "0.6"], {"rule": "temporal", "train": 0.6}),
    ],
)
def test_a_split_of_the_command_line_wins_over_that_of_a_recipe(cli, recipe, options, split):
    write(recipe, RECIPE + 'split = "ratio"\ntrain = 0.5\nvalidation = 0.25\n')
    ran = cli("data", "add", "shop", "--recipe", recipe, *options, "--json")
    assert ran.code == 0, ran.err
    found = ran.json["dataset"]["split"]
    assert {key: found.get(key) for key in split} == split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('user-colour = "x"', ["--user-colour", "--user-col"]),
        ("user-col = 5", ["--user-col"]),
        ('core = "five"', ["--core"]),
        ('repeats = "maybe"', ["repeats", "first, keep, last, refuse"]),
        ('split = "random"', ["split", "leave-one-out, paper, ratio, temporal"]),
        ("user-col =", ["is no recipe"]),
        ("[items]\na = 1", ["items"]),
    ],
)
def test_a_recipe_that_is_none_is_refused_by_its_file(cli, recipe, text, words, tmp_path):
    write(recipe, f'interactions = "logs/orders.csv"\n{text}\n')
    ran = cli("data", "add", "shop", "--recipe", recipe)
    assert ran.code in (2, 3)
    assert len(ran.err.splitlines()) == 1
    for word in ("shop.toml", *words):
        assert word in ran.err
    assert cli("data", "ls", "--json").json["datasets"] == []


def test_the_files_that_a_recipe_misses_are_named(cli, recipe):
    (recipe.parent / "products.csv").unlink()
    ran = cli("data", "add", "shop", "--recipe", recipe)
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1
    assert "products.csv" in ran.err


RATINGS = (
    "userId,movieId,rating,timestamp\n1,7,4.0,964982703\n1,1,0.5,964981247\n2,13,3.5,1445714835\n2,1,3,1445714836\n"
)
MOVIES = 'movieId,title,genres\n1,Nothing (1995),Drama\n7,"Wait, The (1996)",Drama\n13,Thing (2001),Comedy\n'


@pytest.fixture
def films(tmp_path: Path) -> Path:
    write(tmp_path / "ml" / "ratings.csv", RATINGS)
    write(tmp_path / "ml" / "movies.csv", MOVIES)
    return tmp_path / "ml"


def test_a_known_recipe_reads_a_folder_under_its_name_and_any_other(cli, films):
    assert cli("data", "add", "ml-latest", "--from", films).code == 0
    ran = cli("data", "add", "films", "--recipe", "ml-latest", "--from", films, "--min-rating", "1")
    assert ran.code == 0, ran.err
    assert shown(cli, "ml-latest")["summary"]["interactions"] == 4
    assert shown(cli, "films")["summary"]["interactions"] == 3
    assert (shown(cli, "films")["noun"], shown(cli, "films")["verb"]) == ("movie", "watched")
    cli("data", "add", "whole", "--recipe", "ml-latest", "--from", films / "ratings.csv")
    assert shown(cli, "whole")["fingerprints"] == shown(cli, "ml-latest")["fingerprints"]
    assert shown(cli, "whole")["licence"] == shown(cli, "ml-latest")["licence"]


def test_a_known_recipe_is_planned_below_a_folder(cli, films):
    for arguments in (["ml-latest"], ["films", "--recipe", "ml-latest"]):
        ran = cli("data", "add", *arguments, "--from", films, "--dry-run", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["plan"]["num_rows"] == 4
        wrote = cli(*shlex.split(ran.json["plan"]["command"])[1:])
        assert wrote.code == 0, wrote.err
    cli("data", "add", "straight", "--recipe", "ml-latest", "--from", films)
    assert shown(cli, "films")["fingerprints"] == shown(cli, "straight")["fingerprints"]


@pytest.mark.parametrize(
    "arguments", [["ml-latest"], ["films", "--recipe", "ml-latest"], ["ml-latest", "--dry-run"],
                  ["films", "--recipe", "ml-latest", "--dry-run"]], ids=" ".join,
)  # fmt: skip
def test_a_known_recipe_without_files_names_them_and_from(cli, arguments, tmp_path):
    ran = cli("data", "add", *arguments)
    assert ran.code in (2, 3)
    assert len(ran.err.splitlines()) == 1
    for word in ("--from", "ratings.csv", "movies.csv"):
        assert word in ran.err


def test_a_folder_that_lacks_a_file_of_a_recipe_is_named(cli, films):
    (films / "movies.csv").unlink()
    ran = cli("data", "add", "ml-latest", "--from", films)
    assert ran.code == 3
    for word in (str(films), "movies.csv"):
        assert word in ran.err


def test_a_recipe_that_nobody_knows_is_refused(cli):
    for slip, meant in {"ml-lastest": "ml-latest", "ml-100": "ml-100k"}.items():
        ran = cli("data", "add", "films", "--recipe", slip, "--from", ".")
        assert ran.code == 4
        assert len(ran.err.splitlines()) == 1
        assert f"did you mean {meant!r}" in ran.err


def test_from_is_of_no_use_beside_files(cli, files, tmp_path):
    ran = cli("data", "add", "shop", *files, "--from", tmp_path)
    assert ran.code == 2
    assert "--from" in ran.err
    ran = cli("data", "add", "shop", "--from", tmp_path)
    assert ran.code in (2, 4)
    assert "--recipe" in ran.err or "--interactions" in ran.err


# ---------------------------------------------------------------- refusals

LOG = ["--interactions", "orders.csv"]
BOTH = [*LOG, "--items", "products.csv"]
COLUMNS = ["--user-col", "customer_id", "--item-col", "sku", "--title-col", "product_name"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([*LOG, "--untitled", "id"], 3, ["orders.csv", "--user-col customer_id"]),
        ([*BOTH, "--user-col", "customer_id"], 3, ["'item_id'", "sku"]),
        ([*BOTH, *COLUMNS[:4]], 3, ["'title'", "--title-col product_name"]),
        ([*LOG, *COLUMNS[:4]], 3, ["--items FILE", "--untitled id"]),
        ([*BOTH, *COLUMNS, "--repeats", "maybe"], 2, ["--repeats", "'first'", "'keep'", "'last'", "'refuse'"]),
        ([*BOTH, *COLUMNS, "--untitled", "no"], 2, ["--untitled", "'drop'", "'id'"]),
        ([*BOTH, *COLUMNS, "--duplicate-items", "no"], 2, ["--duplicate-items", "'most'"]),
        ([*BOTH, *COLUMNS, "--format", "xlsx"], 2, ["--format", "'csv'", "'parquet'"]),
        ([*BOTH, *COLUMNS, "--items-format", "xlsx"], 2, ["--items-format", "'csv'"]),
        ([*BOTH, *COLUMNS, "--quotes", "no"], 2, ["--quotes", "'group'"]),
        ([*BOTH, *COLUMNS, "--split", "no"], 2, ["--split", "'temporal'"]),
        ([*BOTH, *COLUMNS, "--core", "0"], 2, ["--core"]),
        ([*BOTH, *COLUMNS, "--core", "9"], 3, ["--core"]),
        ([*BOTH, *COLUMNS, "--min-history", "9"], 3, ["--min-history"]),
        ([*BOTH, *COLUMNS, "--min-rating", "9", "--rating-col", "stars"], 3, ["--min-rating"]),
        ([*BOTH, *COLUMNS, "--min-rating", "9"], 3, ["--rating-col"]),
        ([*BOTH, *COLUMNS, "--min-rating", "high"], 2, ["--min-rating"]),
        ([*BOTH, *COLUMNS, "--min-rating", "nan"], 2, ["--min-rating"]),
        ([*BOTH, *COLUMNS, "--seed", "-1"], 2, ["--seed"]),
        ([*BOTH, *COLUMNS, "--sample-users", "0"], 2, ["--sample-users"]),
        ([*BOTH, *COLUMNS, "--cold-items", "1"], 2, ["--cold-items", "less than 1"]),
        ([*BOTH, *COLUMNS, "--split", "temporal", "--cold-items", "0.99"], 3, ["nothing to learn", "lower it"]),
        ([*BOTH, *COLUMNS, "--rows", "quantity > 0"], 2, ["--rows", "'quantity'", "choices", "event"]),
        ([*BOTH, *COLUMNS, "--rows", "(select 1)"], 2, ["--rows", "'select'"]),
        ([*BOTH, *COLUMNS, "--rows", "event = 'sold'"], 3, ["--rows"]),
        ([*BOTH, *COLUMNS, "--title", "{colour}"], 2, ["--title and --title-col"]),
        ([*BOTH, *COLUMNS[:4], "--title", "{colr}"], 2, ["--title", "'colr'"]),
        ([*BOTH, *COLUMNS, "--item-pattern", "["], 2, ["--item-pattern"]),
        ([*BOTH, *COLUMNS, "--item-pattern", "zzz"], 3, ["--item-pattern"]),
        ([*BOTH, *COLUMNS, "--order-col", "step"], 3, ["'step'", "--order-col"]),
        ([*BOTH, *COLUMNS, "--time-col", "when"], 3, ["'when'", "--time-col"]),
        ([*BOTH, *COLUMNS, "--rating-col", "rate"], 3, ["'rate'", "--rating-col"]),
        ([*BOTH, *COLUMNS, "--items-id-col", "id"], 3, ["'id'", "--items-id-col"]),
        ([*BOTH, *COLUMNS, "--time-format", "%d.%m.%Y"], 3, ["orders.csv:2", "'%d.%m.%Y'"]),
        ([*BOTH, *COLUMNS, "--sep", ";"], 3, ["--sep ','"]),
        ([*BOTH, *COLUMNS, "--items-sep", ";"], 3, ["--items-sep ','"]),
        ([*BOTH, *COLUMNS, "--encoding", "utf-9"], 2, ["--encoding", "'utf-9'"]),
        ([*BOTH, *COLUMNS, "--items-encoding", "utf-9"], 2, ["--items-encoding", "'utf-9'"]),
        ([*BOTH, *COLUMNS, "--no-header"], 2, ["--columns"]),
        ([*BOTH, *COLUMNS, "--items-no-header"], 2, ["--items-columns"]),
        ([*BOTH, *COLUMNS, "--columns", "a,b"], 2, ["--columns"]),
        ([*BOTH, *COLUMNS, "--items-columns", "a,b"], 2, ["--items-columns"]),
        ([*BOTH, *COLUMNS, "--split", "leave-one-out", "--train", "0.5"], 2, ["leave-one-out", "--train"]),
        ([*BOTH, *COLUMNS, "--split", "ratio", "--train", "1.5"], 2, ["--train"]),
        ([*BOTH, *COLUMNS, "--split", "ratio", "--train", "0.9", "--validation", "0.2"], 2, ["train", "validation"]),
        ([*BOTH, *COLUMNS, "--train", "0.5"], 2, ["--split"]),
        ([*BOTH, *COLUMNS, "--rejects", "products.csv"], 2, ["--rejects"]),
        ([*BOTH, *COLUMNS, "--userr-col", "x"], 2, ["--userr-col", "--user-col"]),
        (["--items", "products.csv", *COLUMNS], 2, ["--interactions"]),
        (["--interactions", "nowhere.csv", *COLUMNS], 3, ["nowhere.csv"]),
        (["--interactions", "*.nothing", *COLUMNS], 3, ["*.nothing"]),
        ([*BOTH, "--interactions", "orders.csv", *COLUMNS], 2, ["twice"]),
        (["--interactions", "book.xlsx", *COLUMNS], 3, ["CSV"]),
    ],
    ids=lambda value: " ".join(word for word in value if word not in (*BOTH, *COLUMNS)) if isinstance(value, list)
    and value and value[0].startswith("--") else None,
)  # fmt: skip
def test_a_refusal_is_one_line_that_names_the_option(toy_cli, files, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "book.xlsx", "PK")
    before = held(tmp_path)
    ran = toy_cli("data", "add", "shop", *arguments)
    assert (ran.code, ran.out) == (code, "")
    *notes, line = ran.err.splitlines()
    assert line.startswith("error: ")
    assert not [note for note in notes if not note.startswith("orders.csv: columns not used: ")]
    for word in words:
        assert word in line
    assert "Traceback" not in ran.err
    assert "bug in patchrec" not in ran.err
    assert held(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Ann,A1,1700000007,4,view", ["the same user, item and time as line 8", "--repeats"]),
        ("Ann,a1,1700000009,4,view", ["'a1' is not among the items", "'A1'", "ignoring case", "--skip-bad"]),
        ("Ann,A1.0,1700000009,4,view", ["'A1.0' is not among the items", "'A1'", "'.0'", "--skip-bad"]),
        ("Ann, A1,1700000009,4,view", ["' A1' is not among the items", "'A1'", "blanks", "--skip-bad"]),
        ("Ann,00A1,1700000009,4,view", ["'00A1' is not among the items", "'A1'", "zeros", "--skip-bad"]),
        ("Ann,X,1700000009,4,view", ["'X' is not among the items", "--skip-bad"]),
        (",A1,1700000009,4,view", ["customer_id is blank", "--skip-bad"]),
        ("Ann,A1,,4,view", ["timestamp is blank", "--skip-bad"]),
        ("Ann,A1,then,4,view", ["'then'", "--time-format"]),
        ("Ann,A1,1700000009000,4,view", ["milliseconds", "--time-format"]),
        ("Ann,A1,1700000009,high,view", ["stars 'high' is no number", "--skip-bad"]),
        ("Ann,A1", ["2 fields where the header has 5", "--skip-bad"]),
        ('Ann,"A1,1700000009,4,view', ["quote", "--skip-bad"]),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_the_way_on(toy_cli, files, tmp_path, line, words):
    write(files[0], ORDERS + line + "\n")
    before = held(tmp_path)
    arguments = ["data", "add", "shop", "--interactions", files[0], "--items", files[1], *COLUMNS, "--rating-col",
                 "stars"]  # fmt: skip
    ran = toy_cli(*arguments)
    assert (ran.code, ran.out) == (3, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("error: orders.csv:10: ")
    for word in words:
        assert word in ran.err
    assert held(tmp_path) == before
    assert toy_cli(*arguments, "--skip-bad").code == 0
    account = shown(toy_cli, "shop")["split"]["account"]["interactions"]
    assert (account["read"], account["kept"], sum(account["rejected"].values())) == (9, 8, 1)


def test_near_misses_are_told_when_rows_are_skipped(cli, files):
    write(files[0], ORDERS + "Ann,a1,1700000009,4,view\nAnn,c3,1700000010,4,view\nAnn,X,1700000011,4,view\n")
    ran = cli("data", "add", "shop", *files, "--skip-bad")
    assert "of 3 interactions with unknown items, ignoring case would match 2" in ran.err.splitlines()


def test_a_user_who_means_nobody_is_told_and_left_out(cli, files):
    write(files[0], ORDERS + "nan,A1,1700000009,4,view\n")
    ran = cli("data", "add", "shop", *files)
    assert "user 'nan' has 1 of 9 interactions (11%)" in ran.err
    assert "--missing 'nan'" in ran.err
    ran = cli("data", "add", "other", *files, "--missing", "nan")
    assert ran.code == 0
    assert "left out 1 interaction: the user is missing (--missing)" in ran.err.splitlines()


def test_targets_that_users_had_before_are_told(cli, tmp_path):
    log = write(tmp_path / "log.csv", "user_id,item_id\na,1\na,2\na,1\nb,1\nb,2\nb,3\n")
    ran = cli("data", "add", "shop", log, "--split", "leave-one-out")
    assert "1 of 2 test targets are items that their user had before" in ran.err


# ---------------------------------------------------------------- new items


ADD = ["data", "items", "add", "toy", "--from"]


@pytest.mark.parametrize(
    ("text", "encoding", "options", "added"),
    [
        ("item_id;title\n90;Älpha\n91;Beta\n", "utf-8", ["--sep", ";"], {"90": "Älpha", "91": "Beta"}),
        ("item_id,title\n90,Älpha\n", "latin-1", ["--encoding", "latin-1"], {"90": "Älpha"}),
        ("90,Älpha\n91,Beta\n", "utf-8", ["--no-header", "--columns", "item_id,title"], {"90": "Älpha", "91": "Beta"}),
        ("a,b\n90,Alpha\n", "utf-8", ["--columns", "item_id,title"], {"90": "Alpha"}),
        ("item_id,title\n90,\n91,Beta\n", "utf-8", ["--untitled", "id"], {"90": "90", "91": "Beta"}),
        ("item_id,title\n90,\n91,Beta\n", "utf-8", ["--untitled", "drop"], {"91": "Beta"}),
        ("item_id\n90\n91\n", "utf-8", ["--untitled", "id"], {"90": "90", "91": "91"}),
        ("item_id,name,year\n90,Alpha,1999\n91,Beta,\n", "utf-8", ["--title-of", "{name} ({year})"],
         {"90": "Alpha (1999)", "91": "Beta"}),
        ("sku,name\n90,Alpha\n", "utf-8", ["--item-col", "sku", "--title-col", "name"], {"90": "Alpha"}),
        ("item_id,title\n90,A\n90,B\n90,B\n", "utf-8", ["--duplicate-items", "first"], {"90": "A"}),
        ("item_id,title\n90,A\n90,B\n90,B\n", "utf-8", ["--duplicate-items", "most"], {"90": "B"}),
        ("item_id,title\n90,A\nNA,B\n", "utf-8", ["--missing", "NA"], {"90": "A"}),
        ("item_id::title\n90::A, B\n", "utf-8", ["--sep", "::"], {"90": "A, B"}),
        ("item_id\ttitle\n90\t\"A\"\n", "utf-8", ["--format", "tsv"], {"90": '"A"'}),
        ("item_id\ttitle\n90\t\"A\"\n", "utf-8", ["--format", "tsv", "--quotes", "group"], {"90": "A"}),
        ("item_id,title\n10,Alien\n90,New\n", "utf-8", ["--skip-bad"], {"90": "New"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_new_items_are_read_as_they_are_written(toy_cli, tmp_path, text, encoding, options, added):
    ran = toy_cli(*ADD, write(tmp_path / "new.csv", text, encoding), *options, "--json")
    assert ran.code == 0, ran.err
    assert {item["item_id"]: item["title"] for item in ran.json["items"]} == added
    assert ran.json["num_items"] == 6 + len(added)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("item_id,title\n90,\n91,Beta\n", ["--untitled", "drop"], "left out 1 item: an item without title"),
        ("item_id,title\n90,A\n90,B\n", ["--duplicate-items", "last"], "left out 1 item: an item's id again"),
        ("item_id,title\n90,A\nNA,B\n", ["--missing", "NA"], "left out 1 item: an item without id (--missing)"),
    ],
    ids=["untitled", "duplicate", "missing"],
)
def test_new_items_that_are_left_out_are_told(toy_cli, tmp_path, text, options, words):
    ran = toy_cli(*ADD, write(tmp_path / "new.csv", text), *options)
    assert ran.code == 0
    assert words in ran.err


@pytest.mark.parametrize(
    ("text", "options", "code", "words"),
    [
        ("item_id;title\n90;A\n", [], 3, ["--sep ';'"]),
        ("sku,title\n90,A\n", [], 3, ["--item-col sku"]),
        ("sku,title\n90,A\n", ["--item-col", "skuu"], 3, ["'skuu'", "--item-col"]),
        ("item_id,title\n90,A\n", ["--item-col", "sku"], 3, ["'sku'", "--item-col"]),
        ("item_id,name\n90,A\n", [], 3, ["--title-col name"]),
        ("90,11\n91,12\n", [], 3, ["--no-header --columns"]),
        ("item_id,title\n90,A\n", ["--no-header"], 2, ["--columns"]),
        ("item_id,title\n90,A\n", ["--columns", "a"], 2, ["--columns"]),
        ("item_id,title\n90,A\n", ["--title-of", "{nam}"], 2, ["--title-of", "'nam'"]),
        ("item_id,title\n90,A\n", ["--title-of", "{title}", "--title-col", "title"], 2, ["--title-of"]),
        ("item_id,title\n90,A\n", ["--encoding", "utf-9"], 2, ["--encoding"]),
        ("item_id,title\n90,\n", [], 3, ["--untitled"]),
        ("item_id,title\n90,A\n90,B\n", [], 3, ["--duplicate-items"]),
        ("item_id,title\n10,A\n", [], 3, ["'10' is in the catalog already", "--skip-bad"]),
        ("item_id,title\n10,A\n", ["--skip-bad"], 3, ["no usable item"]),
        ("item_id,title\n90,A\n", ["--items-sep", ";"], 2, ["--items-sep"]),
    ],
    ids=lambda value: None if isinstance(value, int) else " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_new_items_that_cannot_be_read_are_refused_by_options_of_that_command(
    toy_cli, tmp_path, text, options, code, words
):
    path = write(tmp_path / "new.csv", text)
    before = held(tmp_path)
    ran = toy_cli(*ADD, path, *options)
    assert (ran.code, ran.out) == (code, "")
    lines = [line for line in ran.err.splitlines() if not line.startswith("skipped ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    if "--items-sep" not in options:
        assert "--items-" not in lines[0]
    assert held(tmp_path) == before


def test_every_option_is_in_the_help(cli):
    told = flat(cli("data", "add", "--help").out)
    options = (
        "interactions items recipe format sep encoding quotes no-header columns items-format items-sep items-encoding "
        "items-quotes items-no-header items-columns time-format user-col item-col items-id-col time-col rating-col "
        "order-col title-col title item-pattern rows missing repeats duplicate-items untitled min-rating core "
        "min-history sample-users cold-items seed skip-bad rejects split train validation noun verb dry-run from json"
    )
    assert [option for option in options.split() if not re.search(rf"--{option}(?![-\w])", told)] == []


README = Path(__file__).parents[2] / "README.md"
SHOP = README.parent / "examples" / "shop"


def test_the_readme_shows_what_the_plan_of_the_example_prints(cli, monkeypatch):
    monkeypatch.chdir(README.parent)
    ran = cli("data", "add", "shop", "examples/shop/orders.csv", "examples/shop/products.csv", "--dry-run")
    assert ran.code == 0
    assert ran.out in README.read_text()


def test_the_shop_of_the_readme_becomes_recommendations(cli):
    files = (SHOP / "orders.csv", SHOP / "products.csv")
    options = ("--rows", "event = 'purchase'", "--title", "{name}, {colour}", "--session-col", "basket")
    assert cli("data", "add", "shop", *files, *options).code == 0
    assert cli("baseline", "item-knn", "--data", "shop").code == 0
    ran = cli("recommend", "--data", "shop", "--user", "Ada", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.json["ranking"]) == 10
    ran = cli("strategies", "preview", "--strategy", "pft-s", "--sessions", "column", "--data", "shop", "--user", "Ada")
    assert "session" in ran.out


def test_the_help_names_every_recipe(cli):
    said = " ".join(cli("data", "add", "--help").out.split())
    assert all(f"{name}," in said or f"{name}." in said for name in known_recipes())


def test_an_ending_of_recbole_does_not_make_a_file_one_of_recbole(cli, tmp_path):
    """MovieLens has `u.item`, whose fields are separated by bars."""
    (tmp_path / "u.data").write_text("1\t10\t5\t881250949\n1\t20\t3\t881250950\n2\t10\t4\t881250951\n")
    (tmp_path / "u.item").write_text("10|Film A|x\n20|Film B|y\n", encoding="utf-8")
    files = [str(tmp_path / "u.data"), str(tmp_path / "u.item")]
    names = ["--no-header", "--columns", "user_id,item_id,rating,timestamp"]
    ran = cli("data", "add", "films", *files, *names, "--items-no-header", "--items-columns", "item_id,title,shelf")
    assert ran.code == 0, ran.err
    assert cli("data", "show", "films", "--json").json["dataset"]["summary"]["interactions"] == 3
    ran = cli("data", "add", "more", "--interactions", files[1])
    assert ran.code == 3
    assert "say --format tsv and its --sep" in ran.err
