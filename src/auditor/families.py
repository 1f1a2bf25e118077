"""Who made a model, and of which series it is: `families.yaml` in the audit's folder, a list of entries like

    - {model: "heron-*", developer: Nest Labs, series: heron}

Of the entries whose pattern fits a model's name (`*`, `?`, `[…]`) the first counts. `--by developer` and `--by series` then
group by them, and the view `episodes` has both columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from auditor.errors import StoreError
from auditor.store import Audit

NAME = "families.yaml"


class Family(BaseModel):
    """Models by a pattern of their names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    developer: str | None = None
    series: str | None = None


_FILE = TypeAdapter(list[Family])


def load(audit: Audit) -> list[Family]:
    """The entries of the audit's file; none where it has no file. StoreError for one that cannot be read."""
    try:
        return _FILE.validate_python(yaml.safe_load(audit.disk.read(NAME)))
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())[:160]
    raise StoreError(
        f"{audit.disk.at(NAME)}: {told}; write a list of entries such as {{model: 'heron-*', developer: NAME, series: NAME}}"
    ) from None


def named(models: Iterable[str], families: Sequence[Family]) -> list[tuple[str, str | None, str | None]]:
    """(model, developer, series) of each model that an entry fits."""
    found = ((m, next((f for f in families if fnmatchcase(m, f.model)), None)) for m in models)
    return [(m, f.developer, f.series) for m, f in found if f is not None]
