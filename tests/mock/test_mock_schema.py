"""Objects and properties are told as HubSpot tells them, and may be added."""

from __future__ import annotations

import pytest

from headway.errors import UsageError
from headway.mock.schema import CustomObject, Property
from tests.mock.talking import UPSERT, World


@pytest.mark.parametrize("name", ["companies", "deals", "tickets", "products"])
@pytest.mark.parametrize("form", ["/crm/v3/objects/{}/batch/upsert", "/crm/objects/2026-03/{}/batch/upsert"])
def test_every_standard_object_can_be_upserted_by_a_unique_property(name, form):
    key = {"companies": "university_domain", "deals": "deal_number", "tickets": "ticket_number", "products": "hs_sku"}
    body = {"inputs": [{"id": "k-1", "idProperty": key[name], "properties": {}}]}
    world = World()
    assert world.call("POST", form.format(name), body)[2]["results"][0]["properties"][key[name]] == "k-1"
    assert not world.call("POST", form.format(name), body)[2]["results"][0]["new"]
    assert len(world.mock.objects.type(62515, name).by_id) == 1


def test_deals_by_name_are_refused_as_hubspot_does():
    body = {"inputs": [{"id": "Big", "idProperty": "dealname", "properties": {}}]}
    _, _, said = World().call("POST", "/crm/v3/objects/deals/batch/upsert", body)
    assert said["message"] == "Unable to perform upsert by non-unique 0-3 property dealname"
    body["inputs"][0]["idProperty"] = "domain"
    assert World().call("POST", "/crm/v3/objects/companies/batch/upsert", body)[0] == 400


def test_the_schema_is_told_with_types_options_and_flags():
    _, _, told = World().call("GET", "/crm/v3/properties/contacts")
    known = {each["name"]: each for each in told["results"]}
    assert known["lifecyclestage"]["type"] == "enumeration"
    assert {"label": "Lead", "value": "lead", "displayOrder": 1, "hidden": False} in known["lifecyclestage"]["options"]
    assert known["hs_score"]["modificationMetadata"]["readOnlyValue"]
    assert known["hs_score"]["calculated"]
    assert (known["customer_number"]["hasUniqueValue"], known["firstname"]["hasUniqueValue"]) == (True, False)
    companies = World().call("GET", "/crm/v3/properties/0-2")[2]["results"]
    named = {each["name"]: each for each in companies}
    assert {"name", "domain", "website", "country", "university_domain"} <= set(named)
    assert named["university_domain"]["hasUniqueValue"]
    assert World().call("GET", "/crm/v3/properties/contacts/age")[2]["fieldType"] == "number"
    assert World().call("GET", "/crm/v3/properties/contacts/nothing")[0] == 404
    status, _, said = World().call("GET", "/crm/v3/properties/widgets")
    assert (status, said["message"]) == (400, "Unable to infer object type from: widgets")


def test_properties_may_be_added():
    world = World(unique=(("contacts", "member_number"),), properties=(("companies", Property("size", type="number")),))
    body = {"inputs": [{"id": "m-1", "idProperty": "member_number", "properties": {}}]}
    assert world.call("POST", UPSERT, body)[0] == 200
    company = {"inputs": [{"id": "x.edu", "idProperty": "university_domain", "properties": {"size": "big"}}]}
    assert world.call("POST", "/crm/v3/objects/companies/batch/upsert", company)[0] == 400
    made = {"name": "shoe", "label": "Shoe", "type": "enumeration", "fieldType": "select", "groupName": "information",
            "options": [{"label": "L", "value": "l"}]}  # fmt: skip
    assert world.call("POST", "/crm/v3/properties/contacts", made)[0] == 201
    assert world.call("POST", "/crm/v3/properties/contacts", made)[0] == 409
    assert world.call("POST", "/crm/v3/properties/contacts", {"name": "x", "type": "gas"})[0] == 400
    assert world.upsert("a@x.co", shoe="l")[0] == 200
    assert world.upsert("a@x.co", shoe="m")[0] == 207
    with pytest.raises(UsageError, match="unknown type"):
        Property("x", type="gas")


def test_custom_objects_have_several_names():
    machine = CustomObject("machines", (Property("serial", unique=True), Property("weight", type="number")))
    world = World(custom_objects=(machine,))
    told = world.call("GET", "/crm/v3/schemas")[2]["results"]
    assert [each["fullyQualifiedName"] for each in told] == ["p62515_machines"]
    assert world.call("GET", "/crm-object-schemas/v3/schemas/machines")[2]["objectTypeId"] == told[0]["objectTypeId"]
    body = {"inputs": [{"id": "s-1", "idProperty": "serial", "properties": {"weight": "7"}}]}
    for name in ("machines", "p62515_machines", "p_machines", told[0]["objectTypeId"]):
        assert world.call("POST", f"/crm/v3/objects/{name}/batch/upsert", body)[0] == 200
    assert len(world.mock.objects.type(62515, "machines").by_id) == 1
    assert [kind.name for _, kind in world.mock.objects.all()] == ["machines"]
    assert world.call("GET", "/crm/v3/schemas/robots")[0] == 400
