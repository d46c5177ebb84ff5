import pytest

for part in ("acting", "contract_runs", "contract_claims", "contract_letters"):
    pytest.register_assert_rewrite(f"tests.stores.{part}")
