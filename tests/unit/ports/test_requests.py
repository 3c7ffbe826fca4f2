"""A request of before a field is still the same request: by its digest work and orders are known again."""

from adaslide.ports.jobs import CompressRequest, RestoreRequest, request_fields


def test_a_target_ratio_stands_in_a_request_only_where_it_is_given():
    before = {"profile": "archive@3", "lambda_": None, "dice_floor": 0.9, "mpp": None}
    assert request_fields(CompressRequest(**before)) == before
    aimed = CompressRequest("archive@3", target_ratio=5.5)
    assert request_fields(aimed)["target_ratio"] == 5.5
    assert CompressRequest(**request_fields(aimed)) == aimed
    assert request_fields(RestoreRequest("p", "tiff")) == {"package": "p", "format": "tiff", "level": 0}
