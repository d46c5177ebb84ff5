"""What is written, refused and answered has HubSpot's shapes."""

from __future__ import annotations

import json

import pytest

from headway.mock.config import MockConfig
from tests.mock.talking import CONTACTS, UPSERT, World, inputs

CREATE, UPDATE, READ, ARCHIVE = (f"{CONTACTS}/batch/{action}" for action in ("create", "update", "read", "archive"))


def emails(body):
    return [each["properties"]["email"] for each in body["results"]]


def stored(world, name="contacts"):
    kind = world.mock.objects.type(62515, name)
    return {each.get("email") or each.get("university_domain") or key: each for key, each in kind.by_id.items()}


def test_results_come_in_another_order_and_emails_in_lower_case():
    world = World()
    sent = [f"User{number}@X.co" for number in range(100)]
    status, headers, body = world.upsert(*sent, firstname="Ada")
    assert status == 200
    assert body["status"] == "COMPLETE"
    assert "numErrors" not in body
    assert sorted(emails(body)) == sorted(each.lower() for each in sent)
    assert not any(found == each.lower() for found, each in zip(emails(body), sent, strict=True))
    assert all(each["new"] and not each["archived"] and each["id"].isdigit() for each in body["results"])
    _, _, again = world.upsert("uSer7@x.co", firstname="Grace")
    assert not again["results"][0]["new"]
    assert again["results"][0]["objectWriteTraceId"] == "trace-0"
    assert stored(world)["user7@x.co"]["firstname"] == "Grace"
    assert len(stored(world)) == 100
    del headers


def test_values_are_kept_as_text_and_a_blank_clears():
    world = World()
    world.upsert("a@x.co", age=7, vip=True, city="Paris", firstname=None, numemployees=1.5)
    kept = stored(world)["a@x.co"]
    assert {name: kept[name] for name in ("age", "vip", "city", "firstname", "numemployees")} == {
        "age": "7", "vip": "true", "city": "Paris", "firstname": "", "numemployees": "1.5",
    }  # fmt: skip
    world.upsert("a@x.co", city="")
    assert stored(world)["a@x.co"]["city"] == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (inputs(*[f"{i}@x.co" for i in range(101)]), "maximum batch size is 100"),
        (inputs("a@x.co", "b@x.co", "A@X.co "), "Duplicate IDs found in batch input: [a@x.co]. IDs must be unique"),
        (
            {"inputs": [{"id": "1", "idProperty": "firstname", "properties": {}}]},
            "by non-unique 0-1 property firstname",
        ),
        ({"inputs": [{"idProperty": "email", "properties": {}}]}, "[id]"),
        ({"inputs": []}, "empty"),
        ({"inputs": 5}, "Invalid input JSON"),
        ({"inputs": [{"id": "1", "properties": {"city": ["x"]}}]}, "Invalid input JSON"),
        ({}, "Invalid input JSON"),
        (b"{", "Invalid input JSON"),
        (b"\xff\xfe", "Invalid input JSON"),
        (b"", "Invalid input JSON"),
        (b"[" * 5000, "Invalid input JSON"),
    ],
)
def test_what_refuses_a_whole_batch_whatever_the_trace_ids(body, words):
    world = World()
    status, headers, said = world.call("POST", UPSERT, body)
    assert (status, said["status"], said["category"]) == (400, "error", "VALIDATION_ERROR")
    assert words in said["message"]
    assert headers["x-hubspot-correlation-id"] == said["correlationId"]
    assert world.mock.journal.records == 0


def test_duplicate_ids_are_named():
    _, _, said = World().upsert("a@x.co", "A@x.co", "b@x.co")
    assert said["context"] == {"ids": ["a@x.co"]}


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize(("name", "code"), [("shoe_size", "PROPERTY_DOESNT_EXIST"), ("hs_score", "READ_ONLY_VALUE")])
def test_unknown_and_read_only_properties_refuse_the_batch(name, code, trace):
    world = World()
    status, _, said = world.upsert("a@x.co", "b@x.co", trace=trace, **{name: "42"})
    assert status == 400
    assert said["errors"][0]["code"] == code
    assert said["errors"][0]["context"] == {"propertyName": [name]}
    listed = json.loads(said["message"].removeprefix("Property values were not valid: "))
    assert (listed[0]["isValid"], listed[0]["error"], listed[0]["name"]) == (False, code, name)
    assert not stored(world)


def test_or_only_their_records_if_so_configured():
    world = World(unknown_property="record")
    body = inputs("a@x.co", "b@x.co")
    body["inputs"][0]["properties"]["shoe_size"] = "42"
    status, _, said = world.call("POST", UPSERT, body)
    assert (status, emails(said)) == (207, ["b@x.co"])
    assert said["errors"][0]["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("lifecyclestage", "leed", "INVALID_OPTION"),
        ("interests", "sport;chess", "INVALID_OPTION"),
        ("age", "1,234", "INVALID_INTEGER"),
        ("age", "1e999", "INVALID_INTEGER"),
        ("vip", "maybe", "INVALID_BOOLEAN"),
        ("date_of_birth", "23.11.2026", "INVALID_DATE"),
        ("date_of_birth", "2026-02-30", "INVALID_DATE"),
        ("date_of_birth", "1700000000001", "INVALID_DATE"),
        ("last_seen", "yesterday", "INVALID_DATE"),
        ("email", "nobody", "INVALID_EMAIL"),
        ("city", "x" * 65_537, "INVALID_LENGTH"),
    ],
)
def test_a_bad_value_costs_its_record_or_without_trace_ids_its_batch(name, value, code):
    body = inputs("a@x.co", "b@x.co")
    body["inputs"][0]["properties"][name] = value
    world = World()
    status, _, said = world.call("POST", UPSERT, body)
    assert (status, said["numErrors"], emails(said)) == (207, 1, ["b@x.co"])
    error = said["errors"][0]
    assert (error["status"], error["category"]) == ("error", "VALIDATION_ERROR")
    assert error["context"] == {"objectWriteTraceId": ["trace-0"]}
    assert f'"error":"{code}"' in error["message"]
    assert list(stored(world)) == ["b@x.co"]
    for each in body["inputs"]:
        del each["objectWriteTraceId"]
    bare = World()
    status, _, said = bare.call("POST", UPSERT, body)
    assert (status, said["errors"][0]["code"]) == (400, code)
    assert not stored(bare)


def test_good_values_of_every_type():
    good = {
        "lifecyclestage": "lead", "interests": "sport;music", "age": "-1.5e3", "vip": "false", "last_seen": "1700000000001",
        "date_of_birth": "1700006400000",
    }  # fmt: skip
    assert World().upsert("a@x.co", **good)[0] == 200
    more = {"date_of_birth": "2026-11-23", "last_seen": "2026-11-23T18:30:00.123Z", "lifecyclestage": ""}
    assert World().upsert("a@x.co", **more)[0] == 200


def test_trace_ids_must_be_unique_and_everywhere_to_help():
    body = inputs("a@x.co", "nobody")
    body["inputs"][1]["objectWriteTraceId"] = "trace-0"
    assert World().call("POST", UPSERT, body)[0] == 400
    del body["inputs"][0]["objectWriteTraceId"]
    assert World().call("POST", UPSERT, body)[0] == 400


def create(*names, trace):
    made = [{"properties": {"email": name}} for name in names]
    for number, each in enumerate(made if trace else ()):
        each["objectWriteTraceId"] = str(number)
    return {"inputs": made}


def test_creating_what_exists_is_a_conflict():
    world = World()
    status, _, made = world.call("POST", CREATE, create("a@x.co", trace=False))
    assert status == 201
    assert "new" not in made["results"][0]
    status, _, said = world.call("POST", CREATE, create("b@x.co", "A@x.co", trace=False))
    existing = made["results"][0]["id"]
    assert (status, said["category"]) == (409, "CONFLICT")
    assert said["message"] == f"Contact already exists. Existing ID: {existing}"
    status, _, said = world.call("POST", CREATE, create("A@x.co", "b@x.co", "B@x.co", trace=True))
    assert (status, said["numErrors"], emails(said)) == (207, 2, ["b@x.co"])
    assert said["errors"][0]["context"] == {"objectWriteTraceId": ["0"], "existingId": [existing]}
    assert said["errors"][1]["context"] == {"objectWriteTraceId": ["2"]}
    assert world.call("POST", CREATE, {"inputs": [{"properties": {"firstname": "x"}}] * 2})[0] == 201


def test_a_unique_value_that_another_object_has_is_a_conflict_for_updates_too():
    world = World()
    world.upsert("a@x.co", customer_number="1")
    world.upsert("b@x.co", customer_number="2")
    status, _, said = world.upsert("b@x.co", customer_number="1")
    assert (status, said["errors"][0]["category"]) == (207, "CONFLICT")
    world.upsert("a@x.co", customer_number="3")
    assert world.upsert("b@x.co", customer_number="1")[0] == 200


def test_an_update_of_nothing_is_named_by_its_id_trace_ids_or_not():
    world = World()
    made = world.upsert("a@x.co")[2]["results"][0]["id"]
    body = {"inputs": [{"id": made, "properties": {"city": "Rome"}}, {"id": "unknown888", "properties": {}}]}
    status, _, said = world.call("POST", UPDATE, body)
    assert status == 207
    assert said["errors"] == [
        {
            "status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ["unknown888"]},
            "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
        }
    ]  # fmt: skip
    assert stored(world)["a@x.co"]["city"] == "Rome"
    assert world.call("POST", UPDATE, {"inputs": [{"id": int(made), "properties": {"city": "Oslo"}}]})[0] == 200
    by_email = {"inputs": [{"id": "A@x.co", "idProperty": "email", "properties": {"city": "Bern"}}]}
    assert world.call("POST", UPDATE, by_email)[0] == 200
    assert stored(world)["a@x.co"]["city"] == "Bern"


def test_read_and_archive():
    world = World()
    made = world.upsert("a@x.co", firstname="Ada")[2]["results"][0]["id"]
    asked = {"idProperty": "email", "properties": ["firstname"], "inputs": [{"id": "a@x.co"}, {"id": "no@x.co"}]}
    status, _, said = world.call("POST", READ, asked)
    assert (status, said["errors"][0]["context"]) == (207, {"ids": ["no@x.co"]})
    assert said["results"][0]["properties"]["firstname"] == "Ada"
    status, _, said = world.call("POST", ARCHIVE, {"inputs": [{"id": made}, {"id": "999"}]})
    assert (status, said) == (204, None)
    assert not stored(world)
    assert world.upsert("a@x.co")[2]["results"][0]["new"]


def test_one_object_at_a_time():
    world = World()
    status, _, made = world.call("POST", CONTACTS, {"properties": {"email": "Ada@x.co", "age": "36"}})
    assert (status, made["properties"]["email"]) == (201, "ada@x.co")
    one = f"{CONTACTS}/{made['id']}"
    assert world.call("GET", one, query="properties=age")[2]["properties"]["age"] == "36"
    assert world.call("GET", f"{CONTACTS}/ada@x.co", query="idProperty=email")[2]["id"] == made["id"]
    assert world.call("PATCH", one, {"properties": {"age": "old"}})[2]["errors"][0]["code"] == "INVALID_INTEGER"
    assert world.call("PATCH", one, {"properties": {"age": "37"}})[0] == 200
    assert world.call("PATCH", f"{CONTACTS}/1", {"properties": {"age": "37"}})[0] == 404
    assert world.call("POST", CONTACTS, {"properties": {"email": "ADA@x.co"}})[0] == 409
    for number in range(3):
        world.call("POST", CONTACTS, {"properties": {"email": f"{number}@x.co"}})
    first = world.call("GET", CONTACTS, query="limit=3")[2]
    rest = world.call("GET", CONTACTS, query=f"limit=3&after={first['paging']['next']['after']}")[2]
    assert (len(first["results"]), len(rest["results"]), "paging" in rest) == (3, 1, False)
    assert world.call("DELETE", one)[0] == 204
    assert world.call("GET", one)[0] == 404


def test_search_filters_sorts_and_pages():
    world = World(search=None)
    for number in range(12):
        world.upsert(f"u{number}@x.co", age=number, city="Rome" if number % 2 else "Oslo")

    def found(**asked):
        return world.call("POST", f"{CONTACTS}/search", {"properties": ["age"], **asked})[2]

    def by(name, operator, **more):
        return {"filterGroups": [{"filters": [{"propertyName": name, "operator": operator, **more}]}]}

    assert found()["total"] == 12
    assert len(found()["results"]) == 10
    assert found(**by("email", "EQ", value="U3@x.co"))["total"] == 1
    assert found(**by("age", "GT", value="9"))["total"] == 2
    assert found(**by("age", "BETWEEN", value="2", highValue="4"))["total"] == 3
    assert found(**by("city", "IN", values=["Rome"]))["total"] == 6
    assert found(**by("city", "HAS_PROPERTY"))["total"] == 12
    assert found(**by("email", "CONTAINS_TOKEN", value="u1*"))["total"] == 3
    page = found(sorts=[{"propertyName": "age", "direction": "DESCENDING"}], limit=5, after="5")
    assert [each["properties"]["age"] for each in page["results"]] == ["6", "5", "4", "3", "2"]
    assert page["paging"] == {"next": {"after": "10"}}
    for wrong in ({"limit": 201}, {"after": "9999"}, {"limit": "many"}, by("age", "NEAR", value="1")):
        assert found(**wrong)["category"] == "VALIDATION_ERROR"


def test_portals_do_not_see_each_others_objects():
    from headway.mock.config import Portal

    world = World(portals={"other": Portal(99)})
    world.upsert("a@x.co")
    assert world.call("POST", UPSERT, inputs("a@x.co"), token="other")[2]["results"][0]["new"]


@pytest.mark.parametrize(("keep", "new", "objects"), [("objects", False, 1), ("keys", False, 1), ("nothing", True, 0)])
def test_memory_may_be_spared(keep, new, objects):
    world = World(keep=keep, ledger=keep != "nothing")
    world.upsert("a@x.co", firstname="Ada")
    status, _, said = world.upsert("a@x.co")
    assert (status, said["results"][0]["new"], emails(said)) == (200, new, ["a@x.co"])
    kind = world.mock.objects.type(62515, "contacts")
    assert (len(kind.by_id), kind.writes, kind.again) == (objects, 2, 0 if keep == "nothing" else 1)


def test_trace_ids_may_be_kept_from_results():
    _, _, said = World(echo_trace=False).upsert("a@x.co")
    assert "objectWriteTraceId" not in said["results"][0]


def test_who_may_not():
    scopes = {"partner": frozenset({"crm.objects.contacts.read", "crm.objects.companies.write"})}
    world = World(only_known=True, scopes=scopes, portals={"good": MockConfig().portal}, read_only_tokens={"good"})
    for token in ("wrong", ""):
        status, headers, said = world.call(token=token)
        assert (status, said["category"]) == (401, "INVALID_AUTHENTICATION")
        assert not any("ratelimit" in name for name in headers)
    status, headers, said = world.call("POST", UPSERT, inputs("a@x.co"), token="partner")
    assert (status, said["category"]) == (403, "MISSING_SCOPES")
    assert said["errors"][0]["context"] == {"requiredGranularScopes": ["crm.objects.contacts.write"]}
    assert "x-hubspot-ratelimit-remaining" in headers
    assert world.call("GET", CONTACTS, token="partner")[0] == 200
    assert world.call("GET", "/crm/v3/properties/contacts", token="partner")[0] == 403
    assert world.call("POST", UPSERT, inputs("a@x.co"), token="good")[0] == 403
    assert world.call("POST", f"{CONTACTS}/batch/read", {"inputs": [{"id": "1"}]}, token="good")[0] == 207
    assert world.mock.answer("GET", CONTACTS, "Basic Zm9v", b"").status == 401


def test_oauth_apps_are_not_told_the_day():
    _, headers, _ = World(oauth_tokens={"t"}).call()
    assert "x-hubspot-ratelimit-max" in headers
    assert "x-hubspot-ratelimit-daily" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/crm", 404), ("GET", "/crm/v3", 404), ("GET", "/crm/v3/objects", 404),
        ("POST", f"{CONTACTS}/batch/explode", 404), ("GET", UPSERT, 405), ("PUT", CONTACTS, 405),
        ("POST", "/account-info/v3/details", 405), ("GET", "/account-info/details", 404),
        ("GET", f"{CONTACTS}/1/2/3/4", 404), ("POST", "/crm/v3/objects/widgets/batch/upsert", 400),
    ],
)  # fmt: skip
def test_what_is_not_there(method, path, status):
    world = World()
    got, _, said = world.call(method, path, inputs("a@x.co"))
    assert got == status
    assert said["status"] == "error"
    assert world.mock.window("t").most == 1  # counted all the same
