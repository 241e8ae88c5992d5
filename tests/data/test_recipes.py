"""Each recipe reads invented files that are written exactly as the published ones."""

import gzip
import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from patchrec.data import recipe
from patchrec.data.prepare import Prepared, prepare
from patchrec.data.recipe import read_recipe

RECIPES = Path(recipe.__file__).parent / "recipes"
NAMES = {
    "amazon-2014", "amazon-2023", "amazon-movies", "amazon-toys", "book-crossing", "diginetica", "gowalla", "h-and-m",
    "kuairec", "lastfm-hetrec", "mind", "ml-latest", "online-retail", "retailrocket", "steam", "taobao", "yelp",
    "yoochoose",
}  # fmt: skip


def write(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    """Lines as bytes; packed where the name ends in `.gz`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = "".join(line + end for line in lines).encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def zipped(path: Path, folder: Path) -> Path:
    """An archive of a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def utc(moment: str) -> int:
    return int(datetime.fromisoformat(moment + "+00:00").timestamp())


def titles(found: Prepared) -> list[tuple[str, str]]:
    """Items in the order of the catalog, with their titles."""
    catalog = found.dataset.catalog
    return list(zip(catalog.item_ids, catalog.titles, strict=True))


def histories(found: Prepared) -> list[tuple[str, list[str]]]:
    """Users in their order, with their items oldest first."""
    dataset = found.dataset
    ids = dataset.catalog.item_ids
    return [
        (user_id, [ids[item] for item in dataset.sequences.items_of(user)])
        for user, user_id in enumerate(dataset.sequences.user_ids)
    ]


def times(found: Prepared) -> list[int]:
    """Unix seconds, user after user."""
    assert found.dataset.sequences.timestamps is not None
    return found.dataset.sequences.timestamps.tolist()


def ratings(found: Prepared) -> list[float]:
    assert found.ratings is not None
    return found.ratings.tolist()


def words(found: Prepared) -> tuple[str, str]:
    return found.dataset.noun, found.dataset.verb


def test_there_is_a_recipe_for_each_name_and_no_other() -> None:
    assert {path.stem for path in RECIPES.iterdir()} == NAMES
    assert all(path.suffix == ".toml" for path in RECIPES.iterdir())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_recipe_says_what_the_set_is_and_how_to_speak_of_it(name: str) -> None:
    found = read_recipe(RECIPES / f"{name}.toml")
    for text in (found.about, found.licence, found.noun, found.verb):
        assert text is not None
        assert text == text.strip() != ""
        assert "\n" not in text
    assert found.noun is not None
    assert found.verb is not None
    assert (found.noun + found.verb).islower()
    assert found.interactions
    assert None not in (found.format, found.user_col, found.item_col)
    assert found.items or found.untitled == "id" or found.title_col


def test_known_recipes_are_those_of_the_folder() -> None:
    known = recipe.known_recipes()
    assert set(known) == NAMES
    assert known["mind"].about == read_recipe(RECIPES / "mind.toml").about


BOOKS = (
    '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"',
    '"0001112223";"Café à minuit";"Zoé Ünlü";"2001";"Éditions Rien";"http://x/s.jpg";"http://x/m.jpg";"http://x/l.jpg"',
    '"000222333X";"Salt &amp; Ash; a Novel";"A. Nobody";"1999";"None";"http://x/s.jpg";"http://x/m.jpg";"http://x/l.jpg"',
    r'"0003334445";"The Real \"J. Doe\" &amp; Sons";"J. Doe";"2000";"None";"http://x/s.jpg";"http://x/m.jpg";"http://x/l.jpg"',
    r'"0004445556";"Made-up Heroes (Level 4)\"";"B. Nobody";"2000";"None";"http://x/s.jpg";"http://x/m.jpg";"http://x/l.jpg"',
    '"0005556667";"Tide";"C. Nobody";"2003";"None";"http://x/s.jpg";"http://x/m.jpg";"http://x/l.jpg"',
)
BOOK_RATINGS = (
    '"User-ID";"ISBN";"Book-Rating"',
    '"90001";"0005556667";"0"',
    '"90002";"000222333X";"5"',
    '"90001";"0001112223";"10"',
    '"90002";"0003334445";"8"',
    '"90001";"0009998887";"7"',
    '"90002";"0005556667";"3"',
)


def test_book_crossing_is_read_without_the_rows_that_are_no_csv(tmp_path: Path) -> None:
    write(tmp_path / "BX-Books.csv", *BOOKS, encoding="latin-1", end="\r\n")
    write(tmp_path / "BX-Book-Ratings.csv", *BOOK_RATINGS, encoding="latin-1", end="\r\n")
    write(tmp_path / "BX-Users.csv", '"User-ID";"Location";"Age"', '"90001";"nowhere";NULL')
    found = prepare("book-crossing", from_path=tmp_path)
    assert titles(found) == [
        ("0001112223", "Café à minuit"),
        ("000222333X", "Salt &amp; Ash; a Novel"),
        ("0005556667", "Tide"),
    ]
    assert histories(found) == [("90001", ["0005556667", "0001112223"]), ("90002", ["000222333X", "0005556667"])]
    assert found.dataset.sequences.timestamps is None
    assert ratings(found) == [0, 10, 5, 3]
    assert words(found) == ("book", "read")


NEWS = (
    'N11\tsports\tsoccer\t"No Goal" Is the New "Goal"\tHe said: "well\thttps://x/11\t[]\t[]',
    "N12\tnews\tworld\tNobody elected again\t\thttps://x/12\t"
    '[{"Label": "Nobody", "Type": "P", "WikidataId": "Q0", "Confidence": 1.0, "OccurrenceOffsets": [0], '
    '"SurfaceForms": ["Nobody"]}]\t[]',
    "N3\tfoodanddrink\trecipes\tSoup, cold\tCold soup.\thttps://x/3\t[]\t[]",
)


def test_mind_reads_the_clicks_of_all_parts_that_are_there(tmp_path: Path) -> None:
    train, dev, test = (tmp_path / f"MIND_{part}" for part in ("train", "dev", "test"))
    write(train / "news.tsv", *NEWS)
    write(
        train / "behaviors.tsv",
        "1\tU7\t11/11/2019 9:05:58 AM\tN3 N12\tN11-1 N12-0 N3-1",
        "2\tU8\t11/12/2019 12:00:01 AM\t\tN12-0 N3-1",
        "3\tU7\t11/9/2019 11:59:59 PM\tN3\tN12-1 N11-0",
        "4\tU9\t11/12/2019 6:00:00 AM\tN3\tN12-0 N11-0",
    )
    write(dev / "news.tsv", "N21\ttravel\tnews\tIsland lost\t\thttps://x/21\t[]\t[]", NEWS[1])
    write(dev / "behaviors.tsv", "1\tU8\t11/15/2019 12:30:00 PM\tN3\tN21-1 N12-0 N2-0")
    write(test / "news.tsv", NEWS[0])
    write(test / "behaviors.tsv", "1\tU8\t11/18/2019 1:00:00 PM\tN3 N21\tN11 N12")
    write(train / "entity_embedding.vec", "Q0\t0.1\t0.2")
    found = prepare("mind", from_path=tmp_path)
    assert titles(found) == [
        ("N21", "Island lost"),
        ("N12", "Nobody elected again"),
        ("N11", '"No Goal" Is the New "Goal"'),
        ("N3", "Soup, cold"),
    ]
    assert histories(found) == [("U8", ["N3", "N21"]), ("U7", ["N12", "N11", "N3"])]
    assert times(found) == [
        utc("2019-11-12 00:00:01"),
        utc("2019-11-15 12:30:00"),
        utc("2019-11-09 23:59:59"),
        utc("2019-11-11 09:05:58"),
        utc("2019-11-11 09:05:58"),
    ]
    assert found.ratings is None
    assert words(found) == ("news article", "clicked")


def test_mind_reads_one_part_alone(tmp_path: Path) -> None:
    write(tmp_path / "news.tsv", *NEWS)
    write(
        tmp_path / "behaviors.tsv",
        "1\tU7\t11/11/2019 9:05:58 AM\t\tN11-0 N3-1",
        "2\tU7\t11/11/2019 9:05:59 AM\t\tN12-1",
    )
    found = prepare("mind", from_path=tmp_path)
    assert histories(found) == [("U7", ["N3", "N12"])]


def test_retailrocket_reads_views_and_has_ids_for_titles(tmp_path: Path) -> None:
    write(
        tmp_path / "events.csv",
        "timestamp,visitorid,event,itemid,transactionid",
        "1433221332117,500,view,77,",
        "1433221339000,500,addtocart,77,",
        "1433221200999,500,view,9,",
        "1433221345000,500,transaction,77,4000",
        "1433221346000,900,transaction,8,4001",
        "1433224214164,31,view,77,",
        "1433224214164,31,view,77,",
    )
    write(tmp_path / "item_properties_part1.csv", "timestamp,itemid,property,value", "1435460400000,77,categoryid,1338")
    write(tmp_path / "category_tree.csv", "categoryid,parentid", "1016,213")
    found = prepare("retailrocket", from_path=tmp_path)
    assert titles(found) == [("77", "77"), ("9", "9")]
    assert histories(found) == [("500", ["9", "77"]), ("31", ["77"])]
    assert times(found) == [1433221200, 1433221332, 1433224214]
    assert found.ratings is None


def test_yoochoose_reads_clicks_without_header_beside_other_files(tmp_path: Path) -> None:
    clicks = write(
        tmp_path / "yoochoose-clicks.dat",
        "1,2014-04-07T10:54:09.868Z,214500001,0",
        "1,2014-04-07T10:51:09.277Z,214500002,0",
        "2,2014-04-07T13:56:37.614Z,214500001,S",
        "2,2014-04-07T13:57:19.373Z,0214500003,2089046016",
    )
    write(tmp_path / "yoochoose-buys.dat", "1,2014-04-07T10:59:00.000Z,214500002,12462,1")
    write(tmp_path / "yoochoose-test.dat", "5,2014-04-07T17:13:46.713Z,214500001,0")
    found = prepare("yoochoose", from_path=clicks)
    assert titles(found) == [(item, item) for item in ("214500001", "214500002", "0214500003")]
    assert histories(found) == [("1", ["214500002", "214500001"]), ("2", ["214500001", "0214500003"])]
    assert times(found) == [
        utc("2014-04-07 10:51:09"),
        utc("2014-04-07 10:54:09"),
        utc("2014-04-07 13:56:37"),
        utc("2014-04-07 13:57:19"),
    ]


def test_diginetica_takes_sessions_for_users_and_orders_a_day_by_timeframe(tmp_path: Path) -> None:
    write(
        tmp_path / "train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate",
        "11;NA;700;526309;2016-05-09",
        "11;NA;701;9999;2016-05-09",
        "11;NA;702;31331;2016-05-09",
        "11;NA;701;600000;2016-05-09",
        "12;805;700;1000;2016-05-10",
    )
    write(tmp_path / "products.csv", "itemId;pricelog2;product.name.tokens", "700;10;4875,776,56689")
    found = prepare("diginetica", from_path=tmp_path)
    assert titles(found) == [("700", "700"), ("701", "701"), ("702", "702")]
    assert histories(found) == [("11", ["701", "702", "700", "701"]), ("12", ["700"])]
    assert times(found) == [utc("2016-05-09 00:00:00")] * 4 + [utc("2016-05-10 00:00:00")]


def test_lastfm_reads_tags_once_per_artist_and_moment(tmp_path: Path) -> None:
    write(
        tmp_path / "artists.dat",
        "id\tname\turl\tpictureURL",
        "1\tÑandú Choir\thttp://x/1\thttp://x/1.jpg",
        '2\t"Weird" Quartet\thttp://x/2\t',
        "5\tＮｏ Ｏｎｅ\thttp://x/5\thttp://x/5.jpg",
        end="\r\n",
    )
    write(
        tmp_path / "user_taggedartists-timestamps.dat",
        "userID\tartistID\ttagID\ttimestamp",
        "2\t5\t13\t1238536800000",
        "2\t5\t15\t1238536800000",
        "2\t1\t13\t1235858400000",
        "3\t2\t13\t-428720400000",
        "3\t2\t14\t1241128800000",
        "3\t99\t14\t1241128800000",
        "3\t1\t14\t294357600000",
        end="\r\n",
    )
    write(tmp_path / "user_artists.dat", "userID\tartistID\tweight", "2\t1\t13883", end="\r\n")
    found = prepare("lastfm-hetrec", from_path=tmp_path)
    assert titles(found) == [("1", "Ñandú Choir"), ("2", '"Weird" Quartet'), ("5", "Ｎｏ Ｏｎｅ")]
    assert histories(found) == [("2", ["1", "5"]), ("3", ["2"])]
    assert times(found) == [1235858400, 1238536800, 1241128800]
    assert words(found) == ("artist", "tagged")


def test_steam_reads_python_dicts(tmp_path: Path) -> None:
    write(
        tmp_path / "steam_games.json.gz",
        r"{u'publisher': u'None', u'genres': [u'Action', u'Indie'], u'app_name': u'Caf\xe9 Racer', u'title': "
        r"u'Caf\xe9 Racer', u'url': u'http://x/app/70010', u'release_date': u'2018-01-04', u'price': 4.99, "
        r"u'early_access': False, u'id': u'70010', u'developer': u'Nobody'}",
        r"{u'app_name': u'No Id', u'url': u'http://x/', u'price': 19.99, u'early_access': False}",
        r"""{u'app_name': u"Don't Wake It", u'price': u'Free To Play', u'id': u'00070020', u'metascore': 88}""",
        r"{u'title': u'No Name', u'url': u'http://x/app/70030', u'early_access': False, u'id': u'70030'}",
        r"""{u'app_name': u"Don't Wake It II", u'price': 1.99, u'id': u'00070020'}""",
    )
    write(
        tmp_path / "steam_reviews.json.gz",
        r"{u'username': u'Chaos \u2605', u'hours': 0.1, u'products': 41, u'product_id': u'00070020', u'page_order': 0, "
        r"u'date': u'2017-12-17', u'text': u'It\'s \xe9lan\n', u'early_access': False, u'page': 1}",
        r"""{u'username': u'Nobody', u'product_id': u'70010', u'date': u'2016-01-02', u'text': u"a 'b'"}""",
        r"{u'username': u'Chaos \u2605', u'product_id': u'70010', u'date': u'2017-11-30', u'found_funny': 2}",
        r"{u'username': u'Chaos \u2605', u'product_id': u'70010', u'date': u'2017-11-30', u'found_funny': 2}",
        r"{u'username': u'Nobody', u'product_id': u'70030', u'date': u'2016-01-03', u'text': u'the game has no name'}",
        r"{u'username': u'Nobody', u'product_id': u'99999', u'date': u'2016-01-04', u'text': u'the game is not there'}",
        r"{u'username': u'Alone', u'product_id': u'99999', u'date': u'2016-01-05', u'text': u'the game is not there'}",
    )
    found = prepare("steam", from_path=tmp_path)
    assert titles(found) == [("70010", "Café Racer"), ("00070020", "Don't Wake It")]
    assert histories(found) == [("Chaos ★", ["70010", "00070020"]), ("Nobody", ["70010"])]
    assert times(found) == [utc("2017-11-30 00:00:00"), utc("2017-12-17 00:00:00"), utc("2016-01-02 00:00:00")]
    assert found.ratings is None


def review_of_2014(user: str, item: str, stars: float, seconds: int) -> str:
    row = {"reviewerID": user, "asin": item, "reviewerName": 'N. "N"', "helpful": [0, 1], "reviewText": "It's\nfine."}
    return json.dumps({**row, "overall": stars, "summary": "ok", "unixReviewTime": seconds, "reviewTime": "1 1, 2014"})


META_OF_2014 = (
    "{'asin': '0000000116', 'title': \"Nobody's Brush\", 'price': 6.99, 'imUrl': 'http://x/1.jpg', "
    "'related': {'also_bought': ['B000000002']}, 'salesRank': {'Beauty': 3}, 'categories': [['Beauty', 'Tools']]}",
    "{'asin': 'B000000002', 'title': 'Balm, \"Quiet\" &amp; Plain', 'categories': [['Beauty']]}",
    "{'asin': 'B000000003', 'imUrl': 'http://x/3.jpg', 'categories': [['Beauty']]}",
    "{'asin': 'B000000002', 'title': 'Another Balm', 'categories': [['Beauty']]}",
)


def test_amazon_2014_reads_json_reviews_with_python_metadata(tmp_path: Path) -> None:
    write(tmp_path / "meta_Beauty.json.gz", *META_OF_2014)
    write(
        tmp_path / "reviews_Beauty.json.gz",
        review_of_2014("A1XYZ", "B000000002", 5.0, 1391040000),
        review_of_2014("A1XYZ", "0000000116", 2.0, 1388534400),
        review_of_2014("A2XYZ", "B000000003", 4.0, 1388534400),
        review_of_2014("A2XYZ", "B000000002", 1.0, 1388534400),
        review_of_2014("A2XYZ", "B000000002", 1.0, 1388534400),
        review_of_2014("A2XYZ", "B00000000X", 1.0, 1388534400),
    )
    found = prepare("amazon-2014", from_path=tmp_path)
    assert titles(found) == [("0000000116", "Nobody's Brush"), ("B000000002", 'Balm, "Quiet" &amp; Plain')]
    assert histories(found) == [("A1XYZ", ["0000000116", "B000000002"]), ("A2XYZ", ["B000000002"])]
    assert times(found) == [1388534400, 1391040000, 1388534400]
    assert ratings(found) == [2, 5, 1]


def test_amazon_2014_prefers_the_5_core(tmp_path: Path) -> None:
    write(tmp_path / "meta_Beauty.json.gz", *META_OF_2014)
    write(tmp_path / "reviews_Beauty.json.gz", review_of_2014("A1XYZ", "B000000002", 5.0, 1391040000))
    write(tmp_path / "reviews_Beauty_5.json.gz", review_of_2014("A2XYZ", "0000000116", 5.0, 1391040000))
    found = prepare("amazon-2014", from_path=tmp_path)
    assert histories(found) == [("A2XYZ", ["0000000116"])]


def review_of_2023(user: str, item: str, parent: str, stars: float, milliseconds: int) -> str:
    row = {"rating": stars, "title": "The review's own title", "text": "ok<br />", "images": [], "asin": item}
    more = {"parent_asin": parent, "user_id": user, "timestamp": milliseconds, "helpful_vote": 0}
    return json.dumps({**row, **more, "verified_purchase": True})


def meta_of_2023(parent: str, title: str | None) -> str:
    row = {"main_category": "All Beauty", "title": title, "average_rating": 4.8, "rating_number": 10, "features": []}
    more = {"description": [], "price": None, "images": [], "videos": [], "store": "Nobody", "categories": []}
    return json.dumps({**row, **more, "details": {"UPC": "00123"}, "parent_asin": parent, "bought_together": None})


def test_amazon_2023_reads_all_categories_by_parent_asin(tmp_path: Path) -> None:
    reviews, products = tmp_path / "raw" / "review_categories", tmp_path / "raw" / "meta_categories"
    write(
        reviews / "All_Beauty.jsonl.gz",
        review_of_2023("AEUSER1", "B0VARIANT1", "B0PARENT01", 5.0, 1588687728923),
        review_of_2023("AEUSER2", "B0VARIANT2", "B0PARENT01", 4.0, 1588615855070),
        review_of_2023("AEUSER1", "B0VARIANT9", "B0UNTITLED", 1.0, 1588687728999),
        review_of_2023("AEUSER1", "B0VARIANT8", "B0NOMETA00", 1.0, 1588687729999),
        review_of_2023("AEUSER2", "B0VARIANT2", "B0PARENT01", 4.0, 1588615855070),
    )
    write(
        reviews / "Magazine_Subscriptions.jsonl",
        review_of_2023("AEUSER1", "0123456789", "0123456789", 3.0, 1433221332117),
    )
    write(
        products / "meta_All_Beauty.jsonl.gz", meta_of_2023("B0PARENT01", "Comb, wide"), meta_of_2023("B0UNTITLED", "")
    )
    write(products / "meta_Magazine_Subscriptions.jsonl", meta_of_2023("0123456789", "Nothing Weekly"))
    found = prepare("amazon-2023", from_path=tmp_path)
    assert titles(found) == [("B0PARENT01", "Comb, wide"), ("0123456789", "Nothing Weekly")]
    assert histories(found) == [("AEUSER1", ["0123456789", "B0PARENT01"]), ("AEUSER2", ["B0PARENT01"])]
    assert times(found) == [1433221332, 1588687728, 1588615855]
    assert ratings(found) == [3, 5, 4]


def review_of_yelp(number: int, user: str, business: str, stars: float, date: str) -> str:
    row = {"review_id": f"r-{number}", "user_id": user, "business_id": business, "stars": stars, "useful": 0}
    return json.dumps({**row, "funny": 0, "cool": 0, "text": "Fine\n\nfood \u2605", "date": date})


def business_of_yelp(business: str, name: str, city: str) -> str:
    row = {"business_id": business, "name": name, "address": "1 No St, Ste 2", "city": city, "state": "ZZ"}
    more = {"postal_code": "00000", "latitude": 1.5, "longitude": -1.5, "stars": 4.0, "review_count": 2, "is_open": 1}
    attributes = {"attributes": {"BusinessParking": "{'garage': False}"}, "categories": "Food, Tea", "hours": None}
    return json.dumps({**row, **more, **attributes})


def test_yelp_tells_the_places_of_a_chain_apart_by_city(tmp_path: Path) -> None:
    write(
        tmp_path / "yelp_academic_dataset_business.json",
        business_of_yelp("_-1aQ", "Caf\u00e9 Nobody's", "Nowhere"),
        business_of_yelp("zZ9_b", "Caf\u00e9 Nobody's", "Elsewhere"),
    )
    write(
        tmp_path / "yelp_academic_dataset_review.json",
        review_of_yelp(1, "u_-A", "_-1aQ", 3.0, "2018-07-07 22:09:11"),
        review_of_yelp(2, "u_-A", "zZ9_b", 5.0, "2012-01-03 15:28:18"),
        review_of_yelp(3, "u_-B", "zZ9_b", 1.0, "2014-02-05 20:30:30"),
    )
    write(tmp_path / "yelp_academic_dataset_user.json", '{"user_id":"u_-A","name":"N"}')
    found = prepare("yelp", from_path=tmp_path)
    assert titles(found) == [("_-1aQ", "Café Nobody's, Nowhere"), ("zZ9_b", "Café Nobody's, Elsewhere")]
    assert histories(found) == [("u_-A", ["zZ9_b", "_-1aQ"]), ("u_-B", ["zZ9_b"])]
    assert times(found) == [utc("2012-01-03 15:28:18"), utc("2018-07-07 22:09:11"), utc("2014-02-05 20:30:30")]
    assert ratings(found) == [5, 3, 1]
    assert words(found) == ("business", "visited")


def test_gowalla_is_read_newest_first_and_without_header(tmp_path: Path) -> None:
    write(
        tmp_path / "loc-gowalla_totalCheckins.txt.gz",
        "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22800",
        "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420300",
        "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420300",
        "0\t2010-10-12T00:00:00Z\t30.2359091167\t-97.7951395833\t22800",
        "196\t2010-05-22T02:49:04Z\t0.0\t0.0\t420300",
    )
    write(tmp_path / "loc-gowalla_edges.txt.gz", "0\t196")
    found = prepare("gowalla", from_path=tmp_path)
    assert titles(found) == [("22800", "22800"), ("420300", "420300")]
    assert histories(found) == [("0", ["22800", "420300", "22800"]), ("196", ["420300"])]
    assert times(found) == [
        utc("2010-10-12 00:00:00"),
        utc("2010-10-18 22:17:43"),
        utc("2010-10-19 23:55:27"),
        utc("2010-05-22 02:49:04"),
    ]


ARTICLE_COLUMNS = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,graphical_appearance_no,"
    "graphical_appearance_name,colour_group_code,colour_group_name,perceived_colour_value_id,perceived_colour_value_name,"
    "perceived_colour_master_id,perceived_colour_master_name,department_no,department_name,index_code,index_name,"
    "index_group_no,index_group_name,section_no,section_name,garment_group_no,garment_group_name,detail_desc"
)


def article(article_id: str, name: str, colour: str, description: str) -> str:
    shape = "253,Vest top,Garment Upper body,1010016,Solid"
    place = "4,Dark,5,Black,1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Womens Everyday Basics,1002,Jersey Basic"
    return f"{article_id},{article_id[1:7]},{name},{shape},09,{colour},{place},{description}"


def test_h_and_m_keeps_leading_zeros_and_names_the_colour(tmp_path: Path) -> None:
    folder = tmp_path / "h-and-m"
    write(
        folder / "articles.csv",
        ARTICLE_COLUMNS,
        article("0100000015", "Invented top", "Black", '"Top with straps, and ""bow""."'),
        article("0100000016", "Invented top", "White", ""),
        article("0200000001", '"Socks, 5p"', "Other Pink", "Socks."),
    )
    ada, bob = "000058a1" * 8, "00007d2d" * 8
    write(
        folder / "transactions_train.csv",
        "t_dat,customer_id,article_id,price,sales_channel_id",
        f"2018-09-20,{ada},0100000016,0.0508305084745762,2",
        f"2018-09-20,{ada},0100000016,0.0508305084745762,2",
        f"2018-09-21,{bob},0200000001,0.0152372881355932,1",
        f"2018-09-22,{ada},0100000015,0.0304915254237288,2",
    )
    write(folder / "customers.csv", "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code")
    found = prepare("h-and-m", from_path=zipped(tmp_path / "h-and-m-personalized-fashion-recommendations.zip", folder))
    assert titles(found) == [
        ("0100000015", "Invented top, Black"),
        ("0100000016", "Invented top, White"),
        ("0200000001", "Socks, 5p, Other Pink"),
    ]
    assert histories(found) == [(ada, ["0100000016", "0100000015"]), (bob, ["0200000001"])]
    assert times(found) == [utc("2018-09-20 00:00:00"), utc("2018-09-22 00:00:00"), utc("2018-09-21 00:00:00")]
    assert found.ratings is None


def test_taobao_reads_clicks_of_its_nine_days(tmp_path: Path) -> None:
    write(
        tmp_path / "UserBehavior.csv",
        "1,2200001,2520377,pv,1511544070",
        "1,2200002,2520771,pv,1511539200",
        "1,2200001,2520377,buy,1511544071",
        "1,2200003,2520377,cart,1511544072",
        "100,2200004,149192,pv,1512316799",
        "100,2200005,149192,pv,1512316800",
        "100,2200006,149192,pv,1511539199",
        "100,2200007,149192,pv,-2134949234",
        "100,2200004,149192,pv,1512316799",
    )
    found = prepare("taobao", from_path=tmp_path)
    assert titles(found) == [(item, item) for item in ("2200001", "2200002", "2200004")]
    assert histories(found) == [("1", ["2200002", "2200001"]), ("100", ["2200004"])]
    assert times(found) == [1511539200, 1511544070, 1512316799]


def test_ml_latest_reads_an_archive_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    write(
        folder / "ml-latest-small" / "movies.csv",
        "movieId,title,genres",
        "1,Nothing Happens (1995),Adventure|Children",
        '7,"Long Wait, The (Siège, Le) (1996)",Drama',
        '130001,"""Quoted"" Thing (2001)",(no genres listed)',
        end="\r\n",
    )
    write(
        folder / "ml-latest-small" / "ratings.csv",
        "userId,movieId,rating,timestamp",
        "1,7,4.0,964982703",
        "1,1,0.5,964981247",
        "2,130001,3.5,1445714835",
        end="\r\n",
    )
    write(folder / "ml-latest-small" / "tags.csv", "userId,movieId,tag,timestamp", "2,1,funny,1445714994", end="\r\n")
    found = prepare("ml-latest", from_path=zipped(tmp_path / "ml-latest-small.zip", folder))
    assert titles(found) == [
        ("1", "Nothing Happens (1995)"),
        ("7", "Long Wait, The (Siège, Le) (1996)"),
        ("130001", '"Quoted" Thing (2001)'),
    ]
    assert histories(found) == [("1", ["1", "7"]), ("2", ["130001"])]
    assert times(found) == [964981247, 964982703, 1445714835]
    assert ratings(found) == [0.5, 4, 3.5]


def test_kuairec_reads_the_big_matrix_and_captions(tmp_path: Path) -> None:
    data = tmp_path / "KuaiRec 2.0" / "data"
    columns = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    write(
        data / "big_matrix.csv",
        columns,
        "0,3600,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965215790926",
        "0,9500,13665,10984,2020-07-04 23:13:41.297,20200704,1593875621.297,1.2440823015294975",
        "21,9500,851,7908,2020-07-05 00:16:06.687,20200705,1593879366.687,0.1076125442589782",
        "21,9500,851,7908,2020-07-05 00:16:06.687,20200705,1593879366.687,0.1076125442589782",
        "21,3600,862,9590,2020-07-05 00:20:26.0,20200705,1593879626.0,0.0898852971845672",
        "21,70,862,9590,2020-07-05 00:20:27.0,20200705,1593879627.0,0.0898852971845672",
        "21,80,862,9590,2020-07-05 00:20:28.0,20200705,1593879628.0,0.0898852971845672",
    )
    write(data / "small_matrix.csv", columns, "14,9500,4381,6067,2020-07-05 05:27:48.3,20200705.0,1593898068.3,0.7")
    categories = "8,颜值,673,颜值随拍,-124,UNKNOWN"
    write(
        data / "kuairec_caption_category.csv",
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
        "second_level_category_id,second_level_category_name,third_level_category_id,third_level_category_name",
        f'3600,UNKNOWN,没有人的海边 #海,"[海,边]",{categories}',
        f'9500,封面,"空房间, ""下雨"" 了",[],{categories}',
        f"70,UNKNOWN,,[],{categories}",
        "80,UNKNOWN,断成",
        f"两行,[],{categories}",
    )
    found = prepare("kuairec", from_path=tmp_path)
    assert titles(found) == [("3600", "没有人的海边 #海"), ("9500", '空房间, "下雨" 了')]
    assert histories(found) == [("0", ["9500", "3600"]), ("21", ["9500", "3600"])]
    assert times(found) == [1593875621, 1593878903, 1593879366, 1593879626]
    assert found.ratings is None


def test_online_retail_reads_purchases_and_takes_the_most_frequent_description(tmp_path: Path) -> None:
    write(
        tmp_path / "data.csv",
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        "536365,85123A,INVENTED HOLDER,6,12/1/2010 8:26,2.55,17001,United Kingdom",
        '536365,00710,"TIN, £5 ""OFF""",10,12/1/2010 8:26,3.39,17001,United Kingdom',
        "536365,85123A,INVENTED HOLDER,2,12/1/2010 8:26,2.55,17001,United Kingdom",
        "536366,85123A,invented holder?,9,1/12/2011 17:05,2.55,17002,EIRE",
        "C536379,00710,BROKEN,-1,12/1/2010 9:41,27.5,17001,United Kingdom",
        "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom",
        "536500,85123A,INVENTED HOLDER,1,11/30/2011 8:00,2.55,17001,United Kingdom",
        encoding="latin-1",
        end="\r\n",
    )
    found = prepare("online-retail", from_path=tmp_path)
    assert titles(found) == [("85123A", "INVENTED HOLDER"), ("00710", 'TIN, £5 "OFF"')]
    assert histories(found) == [("17001", ["85123A", "00710", "85123A"]), ("17002", ["85123A"])]
    assert times(found) == [
        utc("2010-12-01 08:26:00"),
        utc("2010-12-01 08:26:00"),
        utc("2011-11-30 08:00:00"),
        utc("2011-01-12 17:05:00"),
    ]
    assert found.ratings is None
