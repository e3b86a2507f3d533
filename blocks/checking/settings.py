"""What the checks are told: limits, and where further inputs lie. Every limit can be set; these are where to start."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Check(StrEnum):
    """What is looked at."""

    BACKUP = "backup"
    DISK_AND_CERTIFICATES = "disk-and-certificates"
    UPTIME = "uptime"
    DEPENDENCIES = "dependencies"
    LINKS = "links"
    DATA_QUALITY = "data-quality"
    PRICES = "prices"


class Must(StrEnum):
    """What a column (or, for `same_count`, a table) must be."""

    NOT_EMPTY = "not_empty"
    UNIQUE = "unique"
    RANGE = "range"
    DATE = "date"
    REFERENCE = "reference"
    SAME_COUNT = "same_count"


class DataRule(BaseModel):
    """One rule of the data.

    Attributes:
        least, most: for `range`. references: for `reference`, as TABLE.COLUMN.
        percent: for `same_count`: how much the number of rows may change from one run to another.
    """

    model_config = ConfigDict(extra="forbid")

    table: str
    column: str = ""
    must: Must
    least: float | None = None
    most: float | None = None
    references: str = ""
    percent: float = Field(default=20, gt=0)


class CheckSettings(BaseModel):
    """Limits of the checks; each check reads its own."""

    model_config = ConfigDict(extra="forbid")

    backup_hours: float = Field(default=36, gt=0, description="backup: oldest that the newest file of a set may be.")
    backup_share: float = Field(default=0.5, gt=0, lt=1, description="backup: smallest share of the usual size.")
    disks: list[str] = Field(default_factory=list, description="disk-and-certificates: paths whose disks to look at.")
    free_warn_percent: float = Field(default=15, ge=0, le=100, description="disk-and-certificates: free space to warn.")
    free_fail_percent: float = Field(default=5, ge=0, le=100, description="disk-and-certificates: free space to fail.")
    certificate_warn_days: int = Field(default=30, ge=0, description="disk-and-certificates: days left to warn.")
    certificate_fail_days: int = Field(default=7, ge=0, description="disk-and-certificates: days left to fail.")
    addresses: list[str] = Field(
        default_factory=list, description="uptime: http(s) addresses to look at now, 50 at most."
    )
    slow_seconds: float = Field(default=3, gt=0, description="uptime: slower than this is a warning.")
    up_percent: float = Field(default=99, ge=0, le=100, description="uptime: least share of good answers in 24 hours.")
    log_hours: float = Field(default=6, gt=0, description="uptime: how old the newest line of a log may be.")
    advisories: str = Field(default="", description="dependencies: file or folder of advisories (OSV JSON).")
    online: bool = Field(default=False, description="links: look at http(s) links too, not only at files.")
    rules: list[DataRule] = Field(default_factory=list, description="data-quality: what must hold.")
    price_percent: float = Field(default=20, gt=0, description="prices: a larger change than this fails.")
