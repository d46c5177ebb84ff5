"""How a mock Mailchimp behaves: connections, keys, audiences, and how batches run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from headway.errors import UsageError
from headway.mock.clock import Clock
from headway.mock.service import WireConfig

if TYPE_CHECKING:
    from headway.mock.mailchimp.marketing import MailchimpMock

__all__ = ["Audience", "MailchimpConfig", "MergeField"]


@dataclass(frozen=True, slots=True)
class MergeField:
    """A field of an audience."""

    tag: str
    name: str
    type: str = "text"
    required: bool = False
    choices: tuple[str, ...] = ()


_USUAL = (
    MergeField("FNAME", "First Name"),
    MergeField("LNAME", "Last Name"),
    MergeField("PHONE", "Phone Number", "phone"),
    MergeField("BIRTHDAY", "Birthday", "birthday"),
    MergeField("CITY", "City"),
)


@dataclass(frozen=True, slots=True)
class Audience:
    """A list of members."""

    id: str = "a1b2c3d4e5"
    name: str = "Newsletter"
    merge_fields: tuple[MergeField, ...] = _USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class MailchimpConfig(WireConfig):
    """What it enforces; UsageError for what makes no sense.

    Limits, None for none: `connections` at once and key, each held until its reply was sent, and for `keeps_slot`
    seconds more if it ended without one; `bare_403_above` calls in any second: what is above gets a 403 without a body;
    `pending_batches` per key; `operations_per_batch` at most.

    Who may call: any key, or those of `keys`; `read_only_keys` may not write.

    Batches run one after the other: each waits `batch_delay` seconds, then `batch_rate` operations a second. Their
    results are at `results_host`, '' for the mock's own address. `poison`: address → what the platform says of it;
    `compliance`: addresses that may not be subscribed any more. `keep` whole "objects" or only their "keys".
    """

    connections: int | None = 10
    keeps_slot: float = 0.0
    bare_403_above: int | None = None
    pending_batches: int | None = 500
    operations_per_batch: int = 500
    audiences: tuple[Audience, ...] = (Audience(),)
    keys: frozenset[str] = frozenset()
    read_only_keys: frozenset[str] = frozenset()
    account_id: str = "acc0123456789"
    batch_delay: float = 0.5
    batch_rate: float = 2000.0
    results_host: str = ""
    poison: Mapping[str, str] = field(default_factory=dict)
    compliance: frozenset[str] = frozenset()
    keep: Literal["objects", "keys"] = "objects"

    def __post_init__(self) -> None:
        super(MailchimpConfig, self).__post_init__()  # slots make another class of it
        if self.batch_rate <= 0 or self.batch_delay < 0 or self.keeps_slot < 0:
            raise UsageError("batch_rate is above 0, batch_delay and keeps_slot are not negative")

    def platform(self, clock: Clock | None = None) -> MailchimpMock:
        """The Mailchimp that behaves so."""
        from headway.mock.mailchimp.marketing import MailchimpMock

        return MailchimpMock(self, clock)
