import pytest

from keras_sphereface.utils.validation import require


def test_require_raises_with_the_rule_and_the_received_values():
    require(True, "`low` must be <= `high`.", low=1, high=2)
    with pytest.raises(ValueError, match=r"^`low` must be <= `high`\. Received: low=2, high='1'$"):
        require(False, "`low` must be <= `high`.", low=2, high="1")
