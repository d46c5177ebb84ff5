"""What every store must do, whatever it keeps its records in.

A test module subclasses `StoreContract` and gives a fixture `world` (`acting.World`), which opens the same store as one
or another process, has a clock that stands still until it is moved, and lets processes die.
"""

from tests.stores.contract_claims import ClaimContract
from tests.stores.contract_letters import LetterContract
from tests.stores.contract_runs import RunContract


class StoreContract(RunContract, ClaimContract, LetterContract):
    """Every test that a store must pass."""
